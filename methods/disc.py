"""Control: a centred disc."""

from dataclasses import dataclass

from avbench.nets.fixed import FixedMap, offsets
from avbench.registry import register_method


@dataclass(frozen=True)
class DiscConfig:
    """Nothing to set: the protocol's threshold sets the area."""


@register_method("disc", config=DiscConfig, needs=(), control=True, trainable=False)
class Disc(FixedMap):
    """A centred disc: minus the squared distance to the centre; half the image under a half-rank rule."""

    def __init__(self, config: DiscConfig) -> None:
        down, right = offsets()
        super().__init__(-(down**2 + right**2))
        self.config = config
