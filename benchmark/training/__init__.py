"""Training: one loop for all methods, on one device or many, resumable to the bit; a method brings its loss alone."""

from avbench.training.engine import train
from avbench.training.optimising import learning_rate_factor, total_steps
from avbench.training.plan import Judging, Keeping, Training
from avbench.training.prior import fit_prior
from avbench.training.step_log import broken_samples

__all__ = [
    "Judging",
    "Keeping",
    "Training",
    "broken_samples",
    "fit_prior",
    "learning_rate_factor",
    "total_steps",
    "train",
]
