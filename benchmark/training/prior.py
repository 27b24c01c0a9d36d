"""Controls that learn from ground truth alone."""

from __future__ import annotations

from pathlib import Path

from avbench.checkpoints import CONFIG, save_checkpoint
from avbench.data.splits import Split
from avbench.errors import UsageError
from avbench.locking import locked
from avbench.registry import MethodRef, load_class
from avbench.sources import source_fingerprint
from avbench.training.plan import require_same
from avbench.training.states import unfinished
from avbench.weights import is_annotated, truth_weights


def fit_prior(ref: MethodRef, split: Split, out: Path) -> Path:
    """Fit a control that learns from ground truth alone (it has ``fit``), and save it like a trained method.

    What was fitted already is left as it is.

    Raises:
        UsageError: if the folder holds another checkpoint, or a training.
    """
    meta = {
        "split": {"name": split.name, "sha256": split.sha256, "n": len(split.samples)},
        "selection": "mean of annotations",
        "made_from": {"source": source_fingerprint(ref)},
    }
    with locked(out):
        cls = load_class(ref)
        method = cls(cls.config_class())
        if (out / CONFIG).exists():
            require_same(out, method.config, ref.name, meta)
            return out
        if unfinished(out):
            raise UsageError(f"{out} holds an unfinished training: name another folder with --out")
        method.fit(truth_weights(sample) for sample in split.samples if is_annotated(sample))
        save_checkpoint(out, method, name=ref.name, meta=meta)
    return out
