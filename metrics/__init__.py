"""Pure functions on tensors: one file per metric family, the evaluation protocols, and the statistics."""
