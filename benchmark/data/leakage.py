"""Which test clips a training list holds, by their ids and by the videos that they were cut from.

Nothing here imports torch.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from avbench.data.names import wanted_key
from avbench.data.splits import Purpose, Sample, Split

Kind = Literal["youtube", "flickr", "own"]
"""What the names of a split are: with a YouTube id in front, numbers of Flickr, or the split's own."""

# A YouTube id may hold "_" and "-": it is cut at position 11. What follows are starts, ends, clips or frames.
_YOUTUBE = re.compile(r"([A-Za-z0-9_-]{11})((?:_\d+)*)")
_FLICKR = re.compile(r"\d{10,11}")


@dataclass(frozen=True)
class Overlap:
    """What a training list and a test split share.

    A sample counts once, whether its picture, its sound, or a sound that is mixed in belongs to the training list.

    Attributes:
        train: name of the training list.
        test: name of the test split.
        n_train: samples of the training list.
        n_test: samples of the test split.
        ids: ids of the test samples that hold a clip of the training list, in the split's order.
        pictures: test samples whose picture is of such a clip.
        sounds: test samples whose sound is.
        videos: ids of the test samples cut from a video of which the training list holds a clip, the same or another.
        test_videos: distinct videos of the test split.
        shared_videos: how many of them the training list has clips of.
        purpose: of the list in the place of the training list, which may be one to validate on.
    """

    train: str
    test: str
    n_train: int
    n_test: int
    ids: tuple[str, ...]
    pictures: int
    sounds: int
    videos: tuple[str, ...]
    test_videos: int
    shared_videos: int
    purpose: Purpose = "train"

    @property
    def told(self) -> str:
        """One sentence for people."""
        other = len(self.videos) - len(self.ids)
        more = f", and {other:,} more {'is' if other == 1 else 'are'} cut from its videos" if other else ""
        kind = "validation" if self.purpose == "validation" else "training"
        return f"{len(self.ids):,} of {self.n_test:,} samples of {self.test} are in the {kind} list {self.train}{more}"


def clip_of(name: str) -> str:
    """The name of a clip, VGGSound's in their official form, whatever way they are written in."""
    return wanted_key(name) or name


def video_of(name: str) -> str:
    """The video that a clip or a frame is of: its YouTube id, its number at Flickr, else the name itself."""
    found = _YOUTUBE.fullmatch(name)
    return found[1] if found else name


def kind_of(split: Split) -> Kind:
    """What most names of the split are; ``own`` for a split without samples."""
    counts = Counter(_kind(sample.names.audio or sample.id) for sample in split.samples)
    return counts.most_common(1)[0][0] if counts else "own"


class TrainingClips:
    """The clips and videos of a training list, taken apart once to be compared with many test splits."""

    def __init__(self, split: Split) -> None:
        """Read the names of ``split``; no media are looked at."""
        self.name, self.n, self.kind, self.purpose = split.name, len(split.samples), kind_of(split), split.purpose
        self.clips = {clip_of(name) for sample in split.samples for name in _names(sample)}
        self.videos = {video_of(clip) for clip in self.clips}

    def comparable(self, test: Split) -> bool:
        """Whether the names of both mean the same, so that an overlap can be told."""
        return self.kind == kind_of(test)

    def overlap(self, test: Split) -> Overlap:
        """What ``test`` shares with the list."""
        tested = {video_of(name) for sample in test.samples for name in _names(sample)}
        return Overlap(
            train=self.name,
            test=test.name,
            n_train=self.n,
            n_test=len(test.samples),
            ids=tuple(s.id for s in test.samples if not self.clips.isdisjoint(map(clip_of, _names(s)))),
            pictures=_count(self.clips, (s.names.image or s.id for s in test.samples)),
            sounds=_count(self.clips, (s.names.audio or s.id for s in test.samples)),
            videos=tuple(s.id for s in test.samples if not self.videos.isdisjoint(map(video_of, _names(s)))),
            test_videos=len(tested),
            shared_videos=len(tested & self.videos),
            purpose=self.purpose,
        )


def overlap(train: Split, test: Split) -> Overlap:
    """Compare the whole lists; no media are looked at.

    Names are those of the media: VGGSound clips in milliseconds are the same as those in seconds. Where names are a
    split's own, a video is a clip. Splits that are not :meth:`TrainingClips.comparable` share nothing by name, which
    says nothing.
    """
    return TrainingClips(train).overlap(test)


def _count(clips: set[str], names: Iterable[str]) -> int:
    return sum(clip_of(name) in clips for name in names)


def _names(sample: Sample) -> set[str]:
    """Names of the clips that a sample is made of."""
    return {name for name in (sample.names.image, sample.names.audio, sample.names.mixed) if name} or {sample.id}


def _kind(name: str) -> Kind:
    if _FLICKR.fullmatch(name):
        return "flickr"
    found = _YOUTUBE.fullmatch(name)
    return "youtube" if found and (found[2] or not found[1].isdecimal()) else "own"
