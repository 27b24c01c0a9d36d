"""What goes into a figure: which stored results, and which samples of them. Imports neither torch nor matplotlib."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from avbench.errors import UsageError
from avbench.records import Selection

Way = Literal["even", "random", "differ"]
"""How samples are chosen that nobody names: evenly over the list, at random, or those on which methods differ most."""


@dataclass(frozen=True)
class FigureChoice:
    """What a figure shows: one split, one protocol (but where it compares them), one selection.

    Attributes:
        methods: names, in the order of the figure; empty for all that are there, controls last.
        splits: names; empty for the only one that is there.
        protocols: names, or ``all`` where the figure compares protocols.
        selection: of checkpoints; None for the only one that is there.
        samples: ids, in the order of the figure, or a way to choose them.
        count: how many samples, per block where there are blocks; None for what the figure usually has.
        seed: of what is chosen at random.
        data: folder of the media, for splits that are not drawn.
        metadata: folder of the official annotation files.
    """

    methods: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    protocols: tuple[str, ...] = ("common",)
    selection: Selection | None = None
    samples: tuple[str, ...] | Way = "even"
    count: int | None = None
    seed: int = 0
    data: Path | None = None
    metadata: Path | None = None

    def __post_init__(self) -> None:
        if self.count is not None and self.count < 1:
            raise UsageError(f"expected one sample or more in a figure, got a count of {self.count}: leave it out")
        if not self.samples or not self.protocols:
            raise UsageError("expected samples and a protocol for a figure, got none: leave the option out")

    @property
    def protocol(self) -> str:
        """The one protocol of a figure.

        Raises:
            UsageError: for several.
        """
        if len(self.protocols) > 1 or self.protocols == ("all",):
            raise UsageError(
                f"expected one protocol for this figure, got {' and '.join(self.protocols)}: name one of them"
            )
        return self.protocols[0]
