"""Does it listen? One answer per method from its predictions with several kinds of audio. Imports no torch itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from avbench.audio_sets import AudioSet, OffScreen, audio_sets, complete_sets, donor_of, hears, negatives, off_screen_of
from avbench.errors import AvbenchError, UsageError
from avbench.opening import Progress, silent
from avbench.records import Record
from avbench.request import SCORING
from avbench.rescoring import Choice, rescore
from avbench.store import code_fingerprint, hash_json, read_json, write_json
from avbench.stored import Stored, find_stored

FORMAT = 1
"""Version of the stored answer's form."""

SOURCE = (*SCORING, "parts.py", "audio_sets.py", "listening.py", "hearing.py")
"""The code that an answer depends on."""

MEASURED = ("success", "drops", "unchanged", "unchanged_nearly", "scores", "extremes")
"""Fields of an answer that hold numbers."""


@dataclass(frozen=True)
class Plan:
    """How it is asked.

    Attributes:
        off_screen: which off-screen audio; None for what all methods have, ``offscreen`` before ``swapped``.
        threshold_from: predictions of the same methods whose negatives give the thresholds; None for their own.
        resamples: of the bootstrap.
        seed: of the bootstrap.
    """

    off_screen: OffScreen | None = None
    threshold_from: Path | None = None
    resamples: int = 10_000
    seed: int = 0


@dataclass(frozen=True)
class Rate:
    """A success rate with its 95 % interval: Wilson's, the bootstrap's where samples share pictures."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Drop:
    """The success rate with a method's own audio less that with another, with the paired 95 % bootstrap interval.

    ``p`` is that of the exact McNemar test, the bootstrap's where samples share pictures; ``p_holm`` is corrected for
    the three kinds of audio.
    """

    value: float
    low: float
    high: float
    p: float
    p_holm: float


@dataclass(frozen=True)
class Scores:
    """The evaluation under one universal threshold, fractions but for the threshold; by kind of audio where named.

    See :class:`avbench.metrics.negative_audio.ListeningSummary`.
    """

    threshold: float
    ciou_uth: float
    auc_uth: float
    nan_ciou: float
    pia: dict[str, float]
    auc_n: dict[str, float]
    f_loc: float
    f_loc_by_kind: dict[str, float]
    f_auc: float
    f_auc_by_kind: dict[str, float]
    agreement: dict[str, float]
    """By pair, the kinds joined by a slash."""


@dataclass(frozen=True)
class Listening:
    """The answer for one method on one split, over the samples with a box.

    Attributes:
        off_screen: which off-screen audio it heard.
        n: samples with a box that were predicted.
        n_expected: samples that the split lists.
        partial: whether some of those have no media.
        clustered: whether samples share pictures, which are then drawn together.
        success: under the protocol ``common``, against the image's own boxes, by kind of audio.
        drops: of these from that with the image's own audio, by negative.
        unchanged: share of the samples whose native map is the same as with the image's own audio, by negative.
        unchanged_nearly: the same within 1e-6 of the map's range.
        scores: by rule for the threshold: ``max``, ``max10`` (the 90 % quantile), ``maxq3``.
        extremes: by kind ``mean_max``, ``median_max``, ``mean_min``, ``median_min`` of the raw maps on the canvas, and
            ``nan``, the maps that have no extremes.
        threshold_from: the split and the number of samples that the thresholds come from, where not these.
        provenance: keys of the predictions, and how the intervals were made.
        title: the method, and the beginning of its key where several of its predictions are shown.
    """

    method: str
    split: str
    off_screen: str
    n: int
    n_expected: int
    partial: bool
    clustered: bool
    success: dict[str, Rate]
    drops: dict[str, Drop]
    unchanged: dict[str, float]
    unchanged_nearly: dict[str, float]
    scores: dict[str, Scores]
    extremes: dict[str, dict[str, float]]
    threshold_from: dict[str, Any] | None
    provenance: dict[str, Any]
    title: str = ""
    path: Path = field(default=Path(), compare=False)

    def as_json(self) -> dict[str, Any]:
        """The element that ``--json`` prints: what is not a finite number is None."""
        content = {name: value for name, value in asdict(self).items() if name != "path"}
        return {**_plain(content), "record": str(self.path)}


@dataclass(frozen=True)
class Answers:
    """What a question gave.

    Attributes:
        found: one answer per method and split.
        deaf: split and method of the predictions that no audio went into.
        left_out: title and split of predictions with too few kinds of audio, of methods that have others.
    """

    found: tuple[Listening, ...]
    deaf: tuple[tuple[str, str], ...]
    left_out: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Listener:
    """One method on one split, before it is measured.

    Attributes:
        kinds: its predictions by audio, the image's own first.
        donor: the predictions with negative audio that the thresholds come from.
    """

    kinds: Mapping[str, Stored]
    donor: Mapping[str, Stored]
    plan: Plan
    title: str

    @property
    def own(self) -> Stored:
        """The predictions with the image's own audio."""
        return self.kinds["true"]

    @property
    def path(self) -> Path:
        """Where the answer is kept."""
        keys = [{audio: stored.key for audio, stored in maps.items()} for maps in (self.kinds, self.donor)]
        asked = [*keys, self.plan.resamples, self.plan.seed]
        key = hash_json([*asked, code_fingerprint(*SOURCE)])[:12]
        return self.own.runs / "records" / self.own.split / f"{self.own.method}.listening-{key}.json"


def listen(found: Sequence[Stored], plan: Plan, progress: Progress = silent) -> Answers:
    """Whether the methods of stored predictions listen, measured now where it is not recorded yet.

    Args:
        found: Predictions with several kinds of audio; those of methods that do not hear are named in the answer.
        plan: How it is asked.
        progress: For the bars.

    Raises:
        UsageError: if no method hears, or one lacks a kind of audio (the sentence has the command that adds it).
        AvbenchError: for files that are broken or do not belong together.
    """
    sets = audio_sets(found)
    if not sets:
        names = ", ".join(dict.fromkeys(stored.method for stored in found))
        raise UsageError(f"expected predictions of a method that hears, found those of {names} alone: name others")
    donors = audio_sets(find_stored([plan.threshold_from])) if plan.threshold_from else None
    listeners, left_out = [], []
    for _, group in groupby(sorted(sets, key=_split_of), key=_split_of):
        complete, rest = _of_split(list(group), plan, donors)
        listeners += complete
        left_out += rest
    _measure([one for one in listeners if not one.path.exists()], progress)
    answers = tuple(replace(read_listening(one.path), title=one.title) for one in listeners)
    splits = {answer.split for answer in answers}
    deaf = dict.fromkeys((one.split, one.method) for one in found if not hears(one) and one.split in splits)
    return Answers(answers, tuple(deaf), tuple(left_out))


def read_listening(path: Path) -> Listening:
    """Read a stored answer.

    Raises:
        AvbenchError: if the file is not one of this format.
    """
    content = read_json(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise AvbenchError(f"expected an answer of format {FORMAT} in {path}, found another form: delete it")
    return listening_of({key: value for key, value in content.items() if key != "format"}, path)


def listening_of(content: Mapping[str, Any], path: Path) -> Listening:
    """An answer from its content, :meth:`Listening.as_json` without ``record``, found in ``path``.

    Raises:
        AvbenchError: if it is incomplete or changed.
    """
    given = dict(content)
    try:
        kinds = ("true", *negatives(given["off_screen"]))
        for name in MEASURED:
            given[name] = _numbers(given[name], kinds)
        given["success"] = {audio: Rate(**one) for audio, one in given["success"].items()}
        given["drops"] = {audio: Drop(**one) for audio, one in given["drops"].items()}
        given["scores"] = {rule: Scores(**one) for rule, one in given["scores"].items()}
        return Listening(**given, path=path)
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        raise AvbenchError(f"the answer {path} is incomplete or changed ({problem}): delete it") from None


def _split_of(one: AudioSet) -> str:
    return one.any.split


def _of_split(
    sets: Sequence[AudioSet], plan: Plan, donors: Sequence[AudioSet] | None
) -> tuple[list[Listener], list[tuple[str, str]]]:
    """The listeners of one split, and what is left out."""
    off_screen = plan.off_screen or off_screen_of(sets)
    complete, rest = complete_sets(sets, off_screen)
    methods = [one.any.method for one in complete]
    left_out = [(f"{_named(one)} ({', '.join(one.by_audio)})", one.any.split) for one in rest]
    found = []
    for one in complete:
        source = one
        if plan.threshold_from is not None and donors is not None:
            source = donor_of(one, donors, off_screen, plan.threshold_from)
        audio = negatives(off_screen)
        found.append(
            Listener(
                kinds={mode: one.by_audio[mode] for mode in ("true", *audio)},
                donor={mode: source.by_audio[mode] for mode in audio},
                plan=plan,
                title=one.any.method if methods.count(one.any.method) == 1 else _named(one),
            )
        )
    return found, left_out


def _named(one: AudioSet) -> str:
    return f"{one.any.method}@{one.by_audio.get('true', one.any).key[:12]}"


def _measure(listeners: Sequence[Listener], progress: Progress) -> None:
    """Write the answers."""
    if not listeners:
        return
    from avbench.hearing import hear

    folders = [stored.folder for one in listeners for stored in one.kinds.values()]
    by_key: dict[str, Record] = {
        record.provenance["key"]: record for record in rescore(folders, Choice(protocols=("common",)), progress)
    }
    for one in listeners:
        records = {audio: by_key[stored.key] for audio, stored in one.kinds.items()}
        answer = hear(one, records, progress)
        content = {name: value for name, value in asdict(answer).items() if name not in {"path", "title"}}
        write_json(one.path, {"format": FORMAT, **_plain(content)})


def _plain(value: Any) -> Any:
    """``value`` with None for what is not a finite number."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _numbers(value: Any, kinds: Sequence[str]) -> Any:
    """``value`` with NaN for None, and what goes by kind of audio, or by pairs of kinds, in the order of ``kinds``."""
    if not isinstance(value, dict):
        return math.nan if value is None else value
    by_kind = {*value} <= {*kinds, *(f"{one}/{other}" for one in kinds for other in kinds)}
    keys = sorted(value, key=lambda name: [kinds.index(part) for part in name.split("/")]) if by_kind else value
    return {key: _numbers(value[key], kinds) for key in keys}
