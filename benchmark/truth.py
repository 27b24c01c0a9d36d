"""The truth of a split, kept beside the predictions: what scoring needs once media and annotation files are gone."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avbench.data.annotations import Source
from avbench.data.splits import Sample, Split
from avbench.errors import AvbenchError
from avbench.store import hash_json, write_atomic
from avbench.types import CANVAS, Box

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray
    from torch import Tensor

FORMAT = 2
"""Version of the file's layout, of the rules that mask pictures are read by, and of its content hash."""

JPEG_LEAST = 128
"""Value from which a pixel of a mask counts that was compressed with loss."""

KNOWN = b"avbench.truth"
"""Key of the file's own metadata: ``format``, ``split``, ``family``, ``title``, ``split_sha256`` and ``sha256``."""

COLUMNS = ("id", "label", "image_name", "sounding", "doubtful", "boxes", "consensus", "sources", "mask")


@dataclass(frozen=True)
class Truth:
    """What is true of the samples of a split, one entry per sample in each tuple, in the split's order.

    Attributes:
        split: name of the split.
        title: what people call it.
        split_sha256: hash of the whole list, as :attr:`avbench.data.splits.Split.sha256`.
        sha256: hash over these entries, whatever the file's bytes.
        labels: class of the sound, None where it is not known.
        image_names: samples of one picture share it.
        sounding: False where the sound comes from nothing in the frame.
        doubtful: True for a negative whose sound is of the class of something in sight.
        boxes: as the annotation file has them, out of the frame or not.
        sources: the sounding objects one by one, where the split knows them.
        rles: sounding pixels of the 224 x 224 frame, as the ``counts`` of a compressed COCO RLE; None without a mask.
        consensus: True where the boxes are those of several annotators.
        family: of the data set, as :attr:`avbench.data.splits.Split.family`.
    """

    split: str
    title: str
    split_sha256: str
    sha256: str
    ids: tuple[str, ...]
    labels: tuple[str | None, ...]
    image_names: tuple[str, ...]
    sounding: tuple[bool, ...]
    doubtful: tuple[bool, ...]
    boxes: tuple[tuple[Box, ...], ...]
    sources: tuple[tuple[Source, ...], ...]
    rles: tuple[str | None, ...]
    consensus: tuple[bool, ...] = ()
    family: str = ""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def has_masks(self) -> bool:
        """True where every sounding sample has a mask, and at least one has."""
        given = [rle is not None for rle, sounds in zip(self.rles, self.sounding, strict=True) if sounds]
        return bool(given) and all(given)

    @property
    def has_sources(self) -> bool:
        """True where some sample has two sources or more."""
        return any(len(sources) > 1 for sources in self.sources)

    @cached_property
    def positive(self) -> Tensor:
        """bool ``[N]``: the samples with boxes, and those that sound and have a mask instead."""
        import torch

        told = zip(self.boxes, self.rles, self.sounding, strict=True)
        return torch.tensor([bool(boxes) or (rle is not None and sounds) for boxes, rle, sounds in told])

    def union_maps(self, rows: slice) -> Tensor:
        """How much each pixel weighs where the truth is told by boxes.

        By the rule of :func:`avbench.metrics.ground_truth.union_map`, to the bit: 1 inside any box. Where the boxes are
        those of several annotators, half the number of boxes over the pixel and at most 1, as in
        :func:`avbench.metrics.ground_truth.consensus_map`. Where a sounding sample has a mask and no boxes, its mask
        (stoneMo/AVGN ``datasets.py``).

        Returns:
            ``[n, 224, 224]``, first index y: uint8 of 0 and 1, or float32 of 0, 1/2 and 1 if any of the samples has the
            boxes of several annotators; all 0 where there is no box, or none with an area.
        """
        import torch

        counts, agreed = box_counts(self.boxes[rows]), list(self.consensus[rows])
        maps = counts.clip(max=1)
        masked = [n for n, kept in enumerate(self.positive[rows].tolist()) if kept and not self.boxes[rows][n]]
        if masked:
            maps[masked] = self.masks(rows)[masked].numpy()
        if not any(agreed):
            return torch.from_numpy(maps)
        weights = maps.astype("float32")
        weights[agreed] = (counts[agreed].astype("float32") / 2).clip(max=1)
        return torch.from_numpy(weights)

    def source_maps(self, row: int) -> Tensor:
        """One map like those of :meth:`union_maps` for each source of a sample: uint8 ``[K, 224, 224]``, K may be 0."""
        return drawn_boxes([source.boxes for source in self.sources[row]])

    def masks(self, rows: slice) -> Tensor:
        """The sounding pixels by the masks: uint8 ``[n, 224, 224]`` of 0 and 1; all 0 for a negative without a mask.

        Raises:
            AvbenchError: if a sounding sample has no mask.
        """
        import numpy as np
        import torch

        told = list(zip(self.ids[rows], self.rles[rows], self.sounding[rows], strict=True))
        for name, rle, sounds in told:
            if sounds and rle is None:
                raise AvbenchError(
                    f"a mask of every sounding sample of {self.split} is asked for and {name} has none: add "
                    f"masks/{name}.png to the media and run again, or score by boxes"
                )
        found = np.zeros((len(told), CANVAS, CANVAS), dtype=np.uint8)
        given = [place for place, (_, rle, _) in enumerate(told) if rle is not None]
        if given:
            found[given] = _decoded([rle for _, rle, _ in told if rle is not None])
        return torch.from_numpy(found)


def truth_key(split: Split) -> str:
    """SHA-256 by which the truth of ``split.samples`` is found again.

    It covers all that the file holds, but of a mask only the picture's name, size and modification time (ns): no
    media are read. Hence the file is named by this key, and carries the hash of its own content inside. A partial
    split has another key than the whole one.

    Raises:
        AvbenchError: if the picture of a mask is no longer there.
    """
    rows = [{**_row(split, s), "mask": None if s.mask is None else _stamp(s.mask)} for s in split.samples]
    return hash_json([FORMAT, split.name, split.family, split.title, split.sha256, rows])


def truth_path(split: Split, runs: Path) -> Path:
    """Where the truth of ``split`` stands below ``runs``, written or not; see :func:`truth_key`."""
    return runs / "truth" / f"{split.name}-{truth_key(split)[:12]}.parquet"


def write_truth(split: Split, runs: Path) -> Path:
    """Write the truth of ``split.samples`` to :func:`truth_path`, whole or not at all; nothing if it is there already.

    Of a mask's picture every value above 0 counts as sounding (in palettes every index above 0, in RGB any channel,
    opacity aside), in a JPEG every value of half and more (IS3 and VPO come so, with rings of small values around
    their objects), and it is resized to 224 x 224 by Pillow's nearest neighbour.

    Raises:
        AvbenchError: for a mask that cannot be read, a box with NaN, or a disk that refuses.
    """
    path = truth_path(split, runs)
    if path.exists():
        return path
    rows = [{**_row(split, s), "mask": None if s.mask is None else _rle(s.mask)} for s in split.samples]
    known = {
        "format": FORMAT,
        "split": split.name,
        "family": split.family,
        "title": split.title,
        "split_sha256": split.sha256,
        "sha256": hash_json(rows),
    }
    write_atomic(path, _parquet(rows, known))
    return path


def read_truth(path: Path) -> Truth:
    """Read what :func:`write_truth` wrote.

    Raises:
        AvbenchError: for a file that is absent, no Parquet, cut off, of another format, without one of its columns,
            or whose rows are not those that its hash was taken of.
    """
    if not path.exists():
        raise AvbenchError(f"the truth that predictions were scored against is not at {path}: restore it, or run again")
    known, rows = _read(path)
    if hash_json(rows) != known["sha256"]:
        raise _unusable(path, f"its rows are not those of hash {str(known['sha256'])[:16]}... that it was written with")
    columns: dict[str, tuple[Any, ...]] = {name: tuple(row[name] for row in rows) for name in COLUMNS}
    return Truth(
        split=known["split"],
        title=known["title"],
        split_sha256=known["split_sha256"],
        sha256=known["sha256"],
        ids=columns["id"],
        labels=columns["label"],
        image_names=columns["image_name"],
        sounding=columns["sounding"],
        doubtful=columns["doubtful"],
        boxes=tuple(_boxes(boxes) for boxes in columns["boxes"]),
        sources=tuple(tuple(Source(s["label"], _boxes(s["boxes"])) for s in found) for found in columns["sources"]),
        rles=columns["mask"],
        consensus=columns["consensus"],
        family=known["family"],
    )


def _row(split: Split, sample: Sample) -> dict[str, Any]:
    """A row but for its mask, of plain values: what it is written as, and what its hash is taken of."""
    for box in (*sample.boxes, *(box for source in sample.sources for box in source.boxes)):
        if any(isnan(v) for v in box):
            raise AvbenchError(f"{sample.id} of {split.name}: a box needs four numbers, got {list(box)}: correct it")
    if sample.sounding and not sample.boxes and sample.mask is None:
        raise AvbenchError(
            f"{sample.id} of {split.name} sounds, and has neither boxes nor a mask to score against: expected "
            f"masks/{sample.names.mask or sample.id}.png among the media, complete them"
        )
    return {
        "id": sample.id,
        "label": sample.label,
        "image_name": sample.image_name,
        "sounding": sample.sounding,
        "doubtful": sample.doubtful,
        "boxes": _numbers(sample.boxes),
        "consensus": sample.consensus,
        "sources": [{"label": source.label, "boxes": _numbers(source.boxes)} for source in sample.sources],
    }


def _numbers(boxes: Iterable[Box]) -> list[list[float]]:
    return [[float(v) for v in box] for box in boxes]


def _boxes(boxes: Iterable[Sequence[float]]) -> tuple[Box, ...]:
    return tuple((x0, y0, x1, y1) for x0, y0, x1, y1 in boxes)


def _stamp(path: Path) -> list[Any]:
    try:
        found = path.stat()
    except OSError as problem:
        raise _no_mask(path, problem.strerror) from problem
    return [path.name, found.st_size, found.st_mtime_ns]


def read_mask(path: Path) -> Tensor:
    """The sounding pixels of a mask picture, by the rule of :func:`write_truth`: uint8 ``[224, 224]`` of 0 and 1.

    Raises:
        AvbenchError: for a mask that cannot be read.
    """
    import torch

    return torch.from_numpy(_sounding(path))


def _rle(path: Path) -> str:
    import numpy as np
    from pycocotools.mask import encode

    counts: bytes = encode(np.asfortranarray(_sounding(path)))["counts"]
    return counts.decode()


def _sounding(path: Path) -> NDArray[np.uint8]:
    import numpy as np
    from PIL import Image

    try:
        with Image.open(path) as picture:
            least = JPEG_LEAST if picture.format == "JPEG" else 1
            values = np.asarray(picture.convert("RGB") if picture.mode in {"RGBA", "LA", "PA", "CMYK"} else picture)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as problem:
        raise _no_mask(path, problem) from problem
    sounding = (values >= least).any(axis=2) if values.ndim > 2 else values >= least
    return np.array(Image.fromarray(sounding.astype(np.uint8)).resize((CANVAS, CANVAS), Image.Resampling.NEAREST))


def _decoded(rles: Sequence[str]) -> NDArray[np.uint8]:
    from pycocotools.mask import decode

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pycocotools asks NumPy 2 in NumPy 1's way
        masks: NDArray[np.uint8] = decode([{"size": [CANVAS, CANVAS], "counts": rle.encode()} for rle in rles])
    return masks.transpose(2, 0, 1)


def _no_mask(path: Path, problem: object) -> AvbenchError:
    reason = " ".join(str(problem).split())
    return AvbenchError(f"expected a mask at {path}, a picture which cannot be read ({reason}): fetch it again")


def _parquet(rows: list[dict[str, Any]], known: dict[str, Any]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema().with_metadata({KNOWN: json.dumps(known).encode()})
    content = BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), content)
    return content.getvalue()


def _schema() -> pa.Schema:
    import pyarrow as pa

    boxes = pa.list_(pa.list_(pa.float64()))
    sources = pa.list_(pa.struct([("label", pa.string()), ("boxes", boxes)]))
    types = (pa.string(), pa.string(), pa.string(), pa.bool_(), pa.bool_(), boxes, pa.bool_(), sources, pa.string())
    return pa.schema(list(zip(COLUMNS, types, strict=True)))


def _read(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The metadata and the rows of a file of this format."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(pa.BufferReader(path.read_bytes()))
        known = json.loads((table.schema.metadata or {}).get(KNOWN, b"null"))
        _check(path, known, table.column_names)
        return known, table.select(COLUMNS).to_pylist()
    except (OSError, ValueError, pa.ArrowException) as problem:
        raise _unusable(path, f"it is no Parquet or cut off ({' '.join(str(problem).split())})") from problem


def _check(path: Path, known: Any, columns: Sequence[str]) -> None:
    if not isinstance(known, dict):
        raise _unusable(path, "it is another Parquet file, without the metadata of avbench")
    if known.get("format") != FORMAT:
        raise _unusable(path, f"it has format {known.get('format')} where this avbench reads {FORMAT}")
    missing = [name for name in COLUMNS if name not in columns]
    if missing:
        raise _unusable(path, f"it lacks {', '.join(missing)} of the columns {', '.join(COLUMNS)}")


def _unusable(path: Path, reason: str) -> AvbenchError:
    return AvbenchError(f"{path} cannot be used as the truth of a split, {reason}: delete it and run again")


def drawn_boxes(boxes: Sequence[Sequence[Box]]) -> Tensor:
    """uint8 ``[n, 224, 224]``: 1 inside any box of each entry; coordinates clipped to [0, 1], scaled, truncated."""
    import torch

    return torch.from_numpy(box_counts(boxes).clip(max=1))


def box_counts(boxes: Sequence[Sequence[Box]]) -> NDArray[np.uint8]:
    """uint8 ``[n, 224, 224]``: how many boxes of each entry hold a pixel, 255 at most, drawn as :func:`drawn_boxes`."""
    import numpy as np

    counts = np.zeros((len(boxes), CANVAS, CANVAS), dtype=np.uint8)
    flat: NDArray[np.float64] = np.array([box for some in boxes for box in some], dtype=np.float64).reshape(-1, 4)
    pixels = (flat.clip(0, 1) * CANVAS).astype(np.int64).tolist()
    owners = [place for place, some in enumerate(boxes) for _ in some]
    for place, (x0, y0, x1, y1) in zip(owners, pixels, strict=True):
        held = counts[place, y0:y1, x0:x1]
        np.add(held, held < 255, out=held, casting="unsafe")
    return counts
