"""How fast samples become tensors, beside the official loaders' steps done one sample at a time, in the same run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from avbench.augment import normalise
from avbench.data.batches import RawBatch, present
from avbench.data.coverage import covered
from avbench.data.decoding import decode_audio, decode_image, open_rgb, square
from avbench.data.loader import LoaderOptions, iterate_batches
from avbench.data.packing import PackRequest, pack_split
from avbench.data.packing_shard import PackOptions, Purpose
from avbench.data.packs import open_pack
from avbench.data.places import Packed
from avbench.data.splits import Split
from avbench.data.training_set import TrainingOptions, TrainingSet, iterate_training
from avbench.errors import AvbenchError, UsageError
from avbench.preparing import prepare, training_windows
from avbench.profiling_ways import Advance, Goal, Way, time_ways
from avbench.recipe import Augmentation, Recipe, load_recipe
from avbench.registry import find_method, load_class
from avbench.types import Window

BATCH = 32
"""Samples of a batch, and of a turn."""
FED = {"cpu": 1024, "cuda": 32 * 1024}
"""Samples that decoding processes are timed on at least, so that their start is a small part."""
FEED = 5000.0
"""Pairs a second that a GPU should be fed with: an epoch of 144,000 in half a minute."""
METHODS = ("ezvsl", "slavc", "fnac", "lvs", "alignment", "jsa")
"""Decoding for all of these is compared with decoding for the first."""
ONE, ALL = "decoding for one method", f"decoding for {len(METHODS)} methods"
AUGMENTED: dict[str, tuple[Augmentation, ...]] = {
    "training": ("flip",),
    "hard_img": ("flip", "blur", "jitter", "grayscale"),
}
"""What happens to pictures beside the crop, in EZ-VSL's training and in JSA's."""
GOALS = {"folders": Goal(3.0), "packed": Goal(10.0), ALL: Goal(most=1.15)}
TOLERANCE = 1e-4
"""Between two log spectrograms of one sound; float32 leaves 1e-5, and 2e-5 of sounds at full scale."""


@dataclass(frozen=True)
class Media:
    """The same samples in plain folders, and packed for evaluation and for training; None where they are not."""

    folders: Split
    packed: Split | None = None
    training: Split | None = None


@dataclass(frozen=True)
class Agreement:
    """How far the official loader's tensors and ours are the same.

    Attributes:
        samples: that were compared.
        pictures: of these, those whose pictures are equal to the bit.
        spectrograms: of these, those whose log spectrograms differ by 1e-4 at most.
        largest: difference of two log spectrograms.
        packed: whether the packed samples are equal to the bit to those in folders; None without a pack.
    """

    samples: int
    pictures: int
    spectrograms: int
    largest: float
    packed: bool | None

    @property
    def holds(self) -> bool:
        """Whether nothing differs."""
        return self.pictures == self.spectrograms == self.samples and self.packed is not False


@dataclass(frozen=True)
class LoadingProfile:
    """What ``avbench profile data`` measured.

    Attributes:
        ways: of loading samples.
        steps: parts of that work, each alone in one process.
        agreement: with the official loader; None where it was not at hand.
    """

    samples: int
    workers: int
    device: str
    ways: tuple[Way, ...]
    steps: tuple[Way, ...]
    agreement: Agreement | None

    @property
    def limit(self) -> str:
        """The step of loading from folders that takes longest."""
        return max((step for step in self.steps if step.beside == "folders"), key=lambda step: step.ms).name


class Loading:
    """Our loaders on one device; the methods that take indices load their samples and say how many they were."""

    def __init__(self, media: Media, device: torch.device, workers: int) -> None:
        self.media, self.device, self.workers = media, device, workers
        with torch.device("meta"):  # what is asked of them are their front-ends alone
            classes = [load_class(find_method(name)) for name in METHODS]
            self.methods = [cls(cls.config_class()) for cls in classes]

    @torch.inference_mode()
    def evaluated(self, split: Split, indices: Sequence[int], *, workers: int = 0) -> int:
        """To normalised pictures and spectrograms, as EZ-VSL is tested."""
        count = sum(len(pictures) for pictures, _ in self.tensors(split, indices, workers=workers))
        self.finish()
        return count

    def tensors(self, split: Split, indices: Sequence[int], *, workers: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of pictures ``[B, 3, 224, 224]`` and log spectrograms over 12, ``[B, 1, F, T]``."""
        frontend = self.methods[0].frontend
        for raw in self.raw(split, indices, {frontend.window}, workers=workers):
            yield normalise(_image(raw)), frontend(raw.waveforms[frontend.window], raw.rate)

    def decoded(self, split: Split, indices: Sequence[int], *, methods: int) -> int:
        """Decoded alone, for the first so many methods."""
        windows = {method.frontend.window for method in self.methods[:methods]}
        count = sum(len(raw.ids) for raw in self.raw(split, indices, windows))
        self.finish()
        return count

    def trained(self, split: Split, indices: Sequence[int], *, recipe: Recipe, workers: int = 0) -> int:
        """To the batches that EZ-VSL is trained on with the augmentation of ``recipe``."""
        method, some = self.methods[0], replace(split, samples=tuple(split.samples[i] for i in indices))
        pairs = TrainingSet(some, training_windows(method), seed=0, options=TrainingOptions(audio_rate=None))
        size = min(BATCH, len(indices))
        batches = iterate_training(pairs, epoch=0, batch_size=size, workers=workers, device=self.device)
        count = sum(len(prepare(raw, method, recipe).ids) for raw in batches)
        self.finish()
        return count

    def raw(
        self, split: Split, indices: Sequence[int], windows: Collection[Window], *, workers: int = 0
    ) -> Iterator[RawBatch]:
        """Decoded batches on the device, at the files' own rate."""
        options = LoaderOptions(BATCH, workers, audio_rate=None)
        return iterate_batches(split, indices, windows=windows, device=self.device, options=options)

    def finish(self) -> None:
        """Wait for what is only queued on a GPU."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def packed_media(split: Split, folder: Path, *, workers: int, advance: Advance) -> Media:
    """The samples of ``split`` with two packs of them in ``folder``; sounds for training in 16 bits.

    Raises:
        UsageError: for samples that are packed already.
        AvbenchError: where media are missing or broken.
    """
    covered(split, ("image", "audio"))
    if any(isinstance(place, Packed) for sample in split.samples for place in (sample.image, sample.audio)):
        raise UsageError(f"{split.name} lies packed, which the official loader cannot read: name plain folders")
    purposes: tuple[Purpose, Purpose] = ("evaluation", "training")
    return Media(split, *(_packed(split, folder / kind, kind, workers, advance) for kind in purposes))


def profile_loading(loading: Loading, *, oracle: Any, repeats: int, advance: Advance) -> LoadingProfile:
    """Time the loading of samples in all ways.

    Args:
        loading: Our loaders.
        oracle: The module with the official loaders' steps; None times ours alone.
        repeats: How often everything is timed.
        advance: Called with the number of samples done.

    Raises:
        AvbenchError: for a sample that cannot be decoded.
    """
    samples = len(loading.media.folders.samples)
    first = range(min(BATCH, samples))
    agreement = None if oracle is None else compare(loading, oracle, first)
    ways, steps = _ways(loading, oracle), _steps(loading, first)
    time_ways(ways, samples, chunk=BATCH, repeats=repeats, advance=advance)
    time_ways(steps, len(first), chunk=BATCH, repeats=max(repeats, 5), advance=lambda done: None)
    return LoadingProfile(samples, loading.workers, str(loading.device), tuple(ways), tuple(steps), agreement)


@torch.inference_mode()
def compare(loading: Loading, oracle: Any, indices: Sequence[int]) -> Agreement:
    """Load the samples of ``indices`` with the official steps and with ours."""
    media = loading.media
    ours = list(_by_sample(loading.tensors(media.folders, indices)))
    equal, close, largest = 0, 0, 0.0
    for index, (picture, spectrogram) in zip(indices, ours, strict=True):
        official = oracle.load_sample(*_files(media.folders, index))
        equal += torch.equal(official[0], picture)
        difference = _difference(official[1], spectrogram)
        close, largest = close + (difference <= TOLERANCE), max(largest, difference)
    packed = None
    if media.packed is not None:
        others = _by_sample(loading.tensors(media.packed, indices))
        packed = all(all(map(torch.equal, *pair)) for pair in zip(ours, others, strict=True))
    return Agreement(len(ours), equal, close, largest, packed)


def _by_sample(batches: Iterator[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
    for pictures, spectrograms in batches:
        yield from zip(pictures.cpu(), spectrograms.cpu(), strict=True)


def _difference(official: Tensor, ours: Tensor) -> float:
    """Largest of the log spectrograms, both given over 12."""
    return 12 * float((official - ours.double()).abs().max()) if official.shape == ours.shape else float("inf")


def _ways(loading: Loading, oracle: Any) -> list[Way]:
    media, ours, test = loading.media, partial(_way, loading), "official"
    found = [
        *([] if oracle is None else _official(media.folders, oracle)),
        ours("folders", loading.evaluated, media.folders, beside=test),
        ours("folders", loading.evaluated, media.folders, beside=test, processes=True),
        ours("packed", loading.evaluated, media.packed, beside=test),
        ours("packed", loading.evaluated, media.packed, beside=test, processes=True),
        ours(ONE, partial(loading.decoded, methods=1), media.folders),
        ours(ALL, partial(loading.decoded, methods=len(METHODS)), media.folders, beside=ONE),
    ]
    recipe = load_recipe(METHODS[0], "vggsound-144k")
    for name, augment in AUGMENTED.items():
        load, beside = partial(loading.trained, recipe=replace(recipe, augment=augment)), f"official, {name}"
        found += [
            ours(name, load, media.folders, beside=beside),
            ours(f"{name}, packed", load, media.training, beside=beside),
            ours(f"{name}, packed", load, media.training, beside=beside, processes=True),
        ]
    ways = [way for way in found if way is not None]
    names = {way.name for way in ways}
    return [way if way.beside in names else replace(way, beside=None) for way in ways]


def _way(
    loading: Loading,
    name: str,
    load: Callable[..., int],
    split: Split | None,
    *,
    beside: str | None = None,
    processes: bool = False,
) -> Way | None:
    """None where the samples are not packed, or no processes were asked for."""
    if split is None or (processes and not loading.workers):
        return None
    goal, size = GOALS.get(name, Goal()), _source_bytes(split)
    way = Way(name, beside, goal, load=partial(load, split), source_bytes=size)
    if not processes:
        return way
    fed = FEED if "packed" in name and loading.device.type == "cuda" else None
    return replace(
        way,
        name=f"{name}, {loading.workers} process{'es' if loading.workers > 1 else ''}",
        load=partial(load, split, workers=loading.workers),
        goal=replace(way.goal, per_second=fed),
        whole=-(-FED[loading.device.type] // len(split.samples)),
    )


def _official(split: Split, oracle: Any) -> list[Way]:
    def load(mode: str, indices: Sequence[int]) -> int:
        for index in indices:
            oracle.load_sample(*_files(split, index), mode)
        return len(indices)

    names = {"official": "test", "official, training": "train", "official, hard_img": "hard"}
    return [Way(name, load=partial(load, mode), source_bytes=_source_bytes(split)) for name, mode in names.items()]


def _steps(loading: Loading, indices: Sequence[int]) -> list[Way]:
    """Of one batch, what a step works on being there already."""
    split, packed, frontend = loading.media.folders, loading.media.packed, loading.methods[0].frontend
    files = [_files(split, index) for index in indices]
    pictures = [open_rgb(picture) for picture, _ in files]
    raw = next(iter(loading.raw(split, indices, {frontend.window})))
    image, heard = _image(raw), raw.waveforms[frontend.window]
    small = list(image.cpu().numpy())
    shards = [] if packed is None else [packed.samples[index] for index in indices]
    work: dict[tuple[str, str], Callable[[], object]] = {
        ("open and decode the picture", "folders"): lambda: [open_rgb(picture) for picture, _ in files],
        ("resize the picture", "folders"): lambda: [square(picture) for picture in pictures],
        ("read the sound", "folders"): lambda: [decode_audio(sound, rate=None) for _, sound in files],
        ("read the packed picture", "packed"): lambda: [decode_image(present(s.image, s)) for s in shards],
        ("read the packed sound", "packed"): lambda: [decode_audio(present(s.audio, s), rate=None) for s in shards],
        ("collate the pictures", "folders"): lambda: torch.from_numpy(np.stack(small)),
        ("normalise the picture", "folders"): lambda: normalise(image),
        ("spectrogram", "folders"): lambda: frontend(heard, raw.rate),
    }
    if loading.device.type == "cuda":
        pinned = raw.to(torch.device("cpu")).pin_memory()
        work["copy to the device", "folders"] = lambda: pinned.to(loading.device)

    def load(do: Callable[[], object], chosen: Sequence[int]) -> int:
        with torch.inference_mode():
            do()
        loading.finish()
        return len(chosen)

    return [Way(name, kind, load=partial(load, do)) for (name, kind), do in work.items()]


def _packed(split: Split, folder: Path, purpose: Purpose, workers: int, advance: Advance) -> Split:
    request = PackRequest(PackOptions(purpose, audio_rate=None, audio="int16"), shard_size=128, workers=workers)
    pack_split(split, folder, request=request, advance=advance)
    index = open_pack(folder)
    samples = (replace(s, image=index.image(s.names.image), audio=index.sound(s.names.audio)) for s in split.samples)
    return replace(split, samples=tuple(samples))


def _files(split: Split, index: int) -> tuple[Path, Path]:
    sample = split.samples[index]
    picture, sound = present(sample.image, sample), present(sample.audio, sample)
    if isinstance(picture, Packed) or isinstance(sound, Packed):
        raise UsageError(f"{sample.id} lies packed, which the official loader cannot read: name plain folders")
    return picture, sound


def _source_bytes(split: Split) -> float:
    """Of a sample's picture and sound where they lie, on average."""
    places = [place for sample in split.samples for place in (sample.image, sample.audio) if place is not None]
    sizes = [place.size if isinstance(place, Packed) else place.stat().st_size for place in places]
    return sum(sizes) / len(split.samples)


def _image(raw: RawBatch) -> Tensor:
    if raw.image is None:
        raise AvbenchError("expected pictures of the samples, found none: name a split that has them")
    return raw.image
