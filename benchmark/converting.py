"""Authors' checkpoints into checkpoints of ours: compared by name, then written with a model card."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from avbench.checkpoints import CONFIG, MODEL, Match, checkpoint_given, load_weights, matched, packed, sha256_of
from avbench.errors import AvbenchError, UsageError
from avbench.model_card import Card, model_card
from avbench.official_files import Form, readable
from avbench.registry import MethodInfo, MethodRef, describe, load_class
from avbench.store import write_atomic

README = "README.md"


@dataclass(frozen=True)
class Conversion:
    """An authors' file and what it gives; :meth:`files` writes nothing."""

    ref: MethodRef
    info: MethodInfo
    source: Path
    source_sha256: str
    form: Form
    shapes: dict[str, list[int]]
    """Of the file's tensors, by name without ``module.``."""
    found: Match
    method: Any | None
    """The method filled with the file's weights; None where they do not fit."""

    def files(self) -> dict[str, bytes]:
        """The checkpoint and, last, its card, equal bytes for equal inputs.

        Raises:
            AvbenchError: for a file that does not fit.
        """
        if self.method is None:
            raise AvbenchError(f"{self.source} does not fit {self.ref.name}: give a checkpoint of this method")
        files = packed(self.method, name=self.ref.name, meta={"converted": self.origin})
        return {**files, README: model_card(self._card(files)).encode()}

    @property
    def origin(self) -> dict[str, Any]:
        """Where the weights come from, for the header and the record."""
        return {
            "file": self.source.name,
            "sha256": self.source_sha256,
            "entry": self.form.entry,
            "module_prefix": self.form.prefixed,
            "dropped": self.found.dropped,
            "recast": self.found.recast,
            "held": held(self.form),
        }

    def report(self) -> dict[str, Any]:
        """All that a program wants to know, as JSON can hold it."""
        found = self.found
        return {
            "method": self.ref.name,
            "source": self.origin,
            "fits": found.fits,
            "kept": len(found.kept),
            "missing": found.missing,
            "unexpected": found.unexpected,
            "other_shape": found.reshaped,
            "config": None if self.method is None else asdict(self.method.config),
            "parameters": None if self.method is None else self._parameters(),
        }

    def _parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.method.parameters()) if self.method is not None else 0

    def _card(self, files: Mapping[str, bytes]) -> Card:
        return Card(
            info=self.info,
            command=self.ref.name if self.ref.origin == "built-in" else _as_typed(self.ref),
            source={**self.origin, "tensors": len(self.shapes)},
            sha256=hashlib.sha256(files[MODEL]).hexdigest(),
            config={} if self.method is None else asdict(self.method.config),
            parameters=self._parameters(),
            kept=len(self.found.kept),
        )


def convert(ref: MethodRef, source: Path, overrides: dict[str, Any]) -> Conversion:
    """Read an authors' checkpoint, compare it with the method, and fill the method with it if it fits.

    Args:
        ref: the method.
        source: the file, in any form that :func:`avbench.checkpoints.load_weights` reads.
        overrides: settings by name, beside those that the shapes give away.

    Raises:
        UsageError: for a checkpoint of ours, a method that reads such a file itself, or a wrong setting.
        AvbenchError: for a file that cannot be read or had to run code to be read.
    """
    cls = load_class(ref)
    if "weights" in cls.config_class.__dataclass_fields__:
        raise UsageError(f"{ref.name} reads such a file itself: give it with --set {ref.name}.weights={source}")
    if checkpoint_given(source).is_dir():
        raise _already_ours(source, ref)
    weights = load_weights(source)
    if weights.config is not None:
        raise _already_ours(source, ref)
    found, build = matched(cls, weights, overrides, source)
    return Conversion(
        ref=ref,
        info=describe(ref),
        source=source,
        source_sha256=sha256_of(source),
        form=weights.form,
        shapes={key: list(value.shape) for key, value in weights.state.items()},
        found=found,
        method=build() if found.fits else None,
    )


def write(conversion: Conversion, folder: Path) -> bool:
    """Write the checkpoint and its card; returns False where the same checkpoint is there already.

    Raises:
        UsageError: if the folder holds another checkpoint, or files that these would replace.
        AvbenchError: for a file that does not fit, or if the disk refuses.
    """
    files = conversion.files()
    there = {name: (folder / name).read_bytes() for name in files if (folder / name).is_file()}
    if MODEL in there and CONFIG in there:
        files.pop(README)  # the card of a checkpoint that is there may have been added to
        there.pop(README, None)
    other = sorted(name for name, content in there.items() if content != files[name])
    if other:
        raise UsageError(f"{folder} holds another {other[0]}, which is not replaced: name another folder")
    for name in (name for name in files if name not in there):
        write_atomic(folder / name, files[name])
    return len(there) < len(files)


def held(form: Form) -> dict[str, Any]:
    """The entries of a file beside its weights: numbers and words as they are, of all else what it is."""
    return {readable(key): _told(value) for key, value in form.rest.items()}


def _told(value: Any) -> Any:
    plain = value.item() if hasattr(value, "item") and getattr(value, "size", 0) == 1 else value
    if isinstance(plain, float):
        return plain if math.isfinite(plain) else str(plain)
    if plain is None or isinstance(plain, bool | int):
        return plain
    if isinstance(plain, str):
        return readable(plain)
    kind = type(plain).__name__
    return f"{kind} of {len(plain)}" if isinstance(plain, Mapping | list | tuple | set) else kind


def _already_ours(source: Path, ref: MethodRef) -> UsageError:
    return UsageError(
        f"expected an authors' file, but {source} is a checkpoint of ours: load it as it is, "
        f"avbench run --method {ref.name} --checkpoint {source}"
    )


def _as_typed(ref: MethodRef) -> str:
    """How the command line names a method that is not built in, without the folder it stands in."""
    return f"{ref.source.name}:{ref.attribute}" if ref.source and ref.origin == str(ref.source) else ref.name
