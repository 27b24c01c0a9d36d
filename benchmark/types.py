"""What passes between the loader, the methods and the scorer.

Nothing here imports torch: the command line reads these names before it knows whether a network is needed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from torch import Tensor

CANVAS = 224
"""Side of the square canvas on which images are decoded and maps are scored, in pixels."""

Box = tuple[float, float, float, float]
"""Corners ``(x0, y0, x1, y1)`` as fractions of the frame, origin at the top left."""

Need = Literal["image", "audio", "objects"]
"""What a method reads of a sample: nothing at all for the fixed controls, the objects for the demo world's oracles."""

View = Literal["augmented", "conceptual"]
"""A further positive of a training pair: its own picture and sound altered, or those of samples that resemble them."""


Picture = Literal["squash", "centre-crop", "tensor"]
"""How a picture becomes ``[3, 224, 224]`` in testing.

``"squash"`` is Pillow's bicubic filter on the whole picture (EZ-VSL, SLAVC, FNAC, JSA; the default of all methods),
``"centre-crop"`` that filter to a shorter side of 224 and the square in the middle (LVS ``dataloader.py``),
``"tensor"`` torch's antialiased bicubic filter on the whole picture in floats, without clamping (SSLalignment
``datasets_lvs.py``).
"""

Channels = Literal["mean", "pyav", "first", "each"]
"""How the channels of a sound become what is heard; a sound of one channel is heard as it is.

``"mean"`` is their mean. ``"pyav"`` is the mean of two channels rounded up to whole 16-bit steps,
``(left + right + 1) >> 1``, as the resampler in the loaders of EZ-VSL, SLAVC and FNAC mixes (``audio_io.py``); where
the rate is changed as well, which those loaders never do, and for more channels it is the plain mean. ``"first"`` is
the first channel (SSLalignment ``datasets_lvs.py``). ``"each"`` keeps the channels apart, for a front-end that takes
``[B, channels, N]`` (JSA ``dataset_avs.py``).
"""


@dataclass(frozen=True)
class Window:
    """The part of a clip that a front-end hears.

    A clip shorter than ``seconds`` is repeated until it is long enough and cut. ``anchor`` says where a longer one
    is cut: ``"centre"`` starts at sample ``(n - need) // 2``, ``"centre-seconds"`` at
    ``int(max(n / rate / 2 - seconds / 2, 0) * rate)`` (EZ-VSL ``audio_io.py``; rounding may differ by one sample),
    ``"start"`` and ``"rolled"`` at sample 0. ``"rolled"`` turns a short clip, once repeated and cut, by
    ``need // 2 - n // 2`` samples, so that the middle of its first round lies in the middle (SSLalignment
    ``audio_io.py``). ``"random"`` is for training alone: every start is equally likely, and a clip that is not longer
    than ``seconds`` goes round, from any of its samples.

    Attributes:
        seconds: of the clip that are heard.
        anchor: where they are cut.
        channels: see :data:`Channels`.
        part: first and last sample, exclusive, of what was cut, where only that is heard; counted in samples whatever
            the rate, as SSLalignment does (``datasets_lvs.py``).
    """

    seconds: float
    anchor: Literal["centre", "centre-seconds", "start", "rolled", "random"] = "centre"
    channels: Channels = "mean"
    part: tuple[int, int] | None = None

    def samples(self, rate: int) -> int:
        """How many samples are heard at ``rate`` Hz."""
        return int(self.seconds * rate) if self.part is None else self.part[1] - self.part[0]


class Frontend(Protocol):
    """From waveforms to the spectrogram that a method wants; hashable, equal ones are computed once per batch."""

    @property
    def window(self) -> Window:
        """The part of each clip that is handed to the call."""

    def __call__(self, waveform: Tensor, rate: int) -> Tensor:
        """``[B, N]`` samples in [-1, 1] at ``rate`` Hz to ``[B, 1, F, T]``, on the waveform's device.

        For a window that hears ``each`` channel, sounds of several come as ``[B, channels, N]``.
        """


@dataclass
class Batch:
    """What a method sees of a batch; floating tensors have the dtype and the device of its parameters."""

    ids: list[str]
    image: Tensor
    """``[B, 3, 224, 224]``, ImageNet-normalised; ``[B, 3, 0, 0]`` for methods that need no image."""
    audio: Tensor | None
    """``[B, 1, F, T]``, the method's own front-end output; None for methods that need no audio."""
    truth: Tensor | None = None
    """``[B, 224, 224]`` weights in [0, 1], for semi-supervised training only."""
    annotated: Tensor | None = None
    """``[B]`` bool: the rows of ``truth`` that mean something; None where ``truth`` is None."""
    image_views: dict[View, Tensor] = field(default_factory=dict)
    """Further pictures of each sample, each like ``image``; in training alone, for methods that ask for ``views``."""
    audio_views: dict[View, Tensor] = field(default_factory=dict)
    """Further sounds of each sample, each like ``audio``, under the same names."""
    objects: list[tuple[Box, ...]] | None = None
    """Boxes of all visible objects, sounding or not, where the split knows them; read by the oracle controls alone."""


@dataclass
class Prediction:
    """What a method says about a batch: maps at their native size, not resized, normalised or thresholded."""

    map: Tensor
    """``[B, h, w]`` raw scores, higher is louder."""
    extra: dict[str, Tensor] = field(default_factory=dict)
    """Further named maps ``[B, h, w]``, for example ``image_query`` of JSA."""
    confidence: Tensor | None = None
    """``[B]``, only where the method itself defines one."""


@dataclass
class Embeddings:
    """The tensors that a method's ``similarity`` compares; the first dimension is the batch."""

    image: Tensor
    audio: Tensor


class Localizer(Protocol):
    """What a row of a table has to offer: a map for every sample. A ``torch.nn.Module`` by duck typing."""

    frontend: Frontend | None

    def localize(self, batch: Batch) -> Prediction:
        """The maps of a batch, each a function of its own sample alone."""


class Method(Localizer, Protocol):
    """A localizer that can be trained; CONTRIBUTING.md shows a whole one.

    Optional members: ``embed(batch) -> Embeddings`` and ``similarity(images, audios) -> Tensor`` of shape
    ``[N, M]`` (left out where both embeddings are ``[B, D]``: cosine then), and ``score_range``, the range of the
    raw map, for protocols with an absolute threshold. Optional in testing: ``picture``, where its images are made in
    another way than ``"squash"`` (:data:`Picture`). Optional in training: ``views``, the further positives that the
    loss reads; ``neighbours``, how many nearest neighbours a conceptual view is drawn from; ``wants_truth``, True where
    the loss reads ``truth``; ``start_epoch(epoch)``, called before each epoch with its number, counted from 0.
    Optional for official checkpoints: ``droppings``, patterns of keys that they hold and the method does not need, each
    with its reason, and ``settings_of(state)``, the settings that a state dict's shapes give away.
    """

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Named scalar terms, unweighted, and their weighted sum as ``total``."""
