"""Predictions of one method that differ in nothing but what it heard. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from avbench.data.audio_modes import AudioMode
from avbench.errors import UsageError
from avbench.store import hash_json
from avbench.stored import Stored

OffScreen = Literal["offscreen", "swapped"]
"""The sound of another clip: of any, as the official code draws it, or of another class."""

OFF_SCREEN: tuple[OffScreen, ...] = get_args(OffScreen)

MODES = get_args(AudioMode)

FREE = ("audio", "embeddings")
"""Inputs of predictions that may differ within a set; embeddings change no map."""

OF_THE_MODEL = ("checkpoint", "overrides", "audio_rate")
"""Inputs on which the scale of a method's maps depends."""


@dataclass(frozen=True)
class AudioSet:
    """A method's predictions on one split, by what it heard."""

    by_audio: Mapping[str, Stored]

    @property
    def any(self) -> Stored:
        """One of the predictions, for what they have in common."""
        return next(iter(self.by_audio.values()))

    def lacks(self, audio: Sequence[str]) -> list[str]:
        """Those of ``audio`` that were not predicted."""
        return [mode for mode in audio if mode not in self.by_audio]


def hears(stored: Stored) -> bool:
    """Whether the predictions are of a method that is given audio."""
    return "audio" in stored.resolved["method"]["info"]["needs"]


def negatives(off_screen: OffScreen) -> tuple[str, str, str]:
    """The three kinds of audio that have nothing to do with the picture."""
    return "silent", "noise", off_screen


def audio_sets(found: Iterable[Stored]) -> list[AudioSet]:
    """The sets among predictions of methods that hear, in the order found; of two with the same audio the first."""
    sets: dict[tuple[str, ...], dict[str, Stored]] = {}
    for stored in found:
        if hears(stored):
            sets.setdefault(_identity(stored), {}).setdefault(stored.audio, stored)
    return [AudioSet(by_audio) for by_audio in sets.values()]


def off_screen_of(sets: Sequence[AudioSet]) -> OffScreen:
    """The off-screen audio that all methods of ``sets`` have: ``offscreen`` where possible, else ``swapped``."""
    for mode in OFF_SCREEN:
        audio = ("true", *negatives(mode))
        if {one.any.method for one in sets} == {one.any.method for one in sets if not one.lacks(audio)}:
            return mode
    return OFF_SCREEN[0]


def complete_sets(sets: Sequence[AudioSet], off_screen: OffScreen) -> tuple[list[AudioSet], list[AudioSet]]:
    """The sets that have their own and all negative audio, and the others, of methods that have a complete one.

    Args:
        sets: Of one split.
        off_screen: Which off-screen audio is wanted.

    Raises:
        UsageError: if a method has none, with the command that predicts what is missing.
    """
    audio = ("true", *negatives(off_screen))
    complete = [one for one in sets if not one.lacks(audio)]
    served = {one.any.method for one in complete}
    lacking = [one for one in sets if one.any.method not in served]
    if lacking:
        raise _incomplete(lacking, audio)
    return complete, [one for one in sets if one.lacks(audio)]


def donor_of(wanted: AudioSet, sets: Sequence[AudioSet], off_screen: OffScreen, place: Path) -> AudioSet:
    """Of ``sets``, found at ``place``, the one of the same method and weights whose negatives give the threshold.

    Raises:
        UsageError: if there is none, more than one, or one without all negative audio.
    """
    method, audio = wanted.any.method, negatives(off_screen)
    named = [one for one in sets if one.any.method == method]
    if not named:
        there = ", ".join(sorted({one.any.method for one in sets})) or "no method that hears"
        raise UsageError(
            f"expected predictions of {method} in {place}, where its threshold is to come from, found those of "
            f"{there}: name a run of {method}"
        )
    alike = [one for one in named if _model(one) == _model(wanted)]
    if not alike:
        differing = [key for key in OF_THE_MODEL if _model(named[0])[key] != _model(wanted)[key]]
        raise UsageError(
            f"the threshold of {method} cannot come from {place}: the {' and '.join(differing)} of the predictions "
            "there differ, and with them the scale of the maps; name a run of the same weights and settings"
        )
    complete = [one for one in alike if not one.lacks(audio)]
    if not complete:
        raise _incomplete(alike, audio)
    if len(complete) > 1:
        folders = ", ".join(sorted(str(one.any.folder.parent) for one in complete))
        raise UsageError(
            f"expected one set of {method} in {place}, where its threshold is to come from, found {len(complete)}: "
            f"name one of {folders}"
        )
    return complete[0]


def _identity(stored: Stored) -> tuple[str, ...]:
    fixed = {name: value for name, value in stored.inputs.items() if name not in FREE}
    return stored.split, stored.method, stored.truth, hash_json(fixed)


def _model(one: AudioSet) -> dict[str, Any]:
    return {name: one.any.inputs[name] for name in OF_THE_MODEL}


def _incomplete(sets: Sequence[AudioSet], audio: Sequence[str]) -> UsageError:
    """For sets none of which has all of ``audio``."""
    scattered = _scattered(sets, audio)
    if scattered:
        return scattered
    modes = ",".join(audio)
    there = ", ".join(f"{one.any.method} with {','.join(sorted(one.by_audio, key=MODES.index))}" for one in sets)
    commands = dict.fromkeys(_command(one.any, modes) for one in sets)
    return UsageError(
        f"expected predictions with {modes} audio of every method that hears, found on {sets[0].any.split} those of "
        f"{there} alone: type `{'` and `'.join(commands)}`, or choose others by --method and --split"
    )


def _scattered(sets: Sequence[AudioSet], audio: Sequence[str]) -> UsageError | None:
    """Where a method has all of ``audio``, but in predictions that differ in more than that."""
    for method in dict.fromkeys(one.any.method for one in sets):
        own = [one for one in sets if one.any.method == method]
        if set(audio) <= {mode for one in own for mode in one.by_audio}:
            first, second = own[0].any, own[1].any
            keys = sorted(key for key in {*first.inputs, *second.inputs} - set(FREE) if _differ(first, second, key))
            what = keys or ["truth"]
            return UsageError(
                f"expected predictions of {method} on {first.split} that differ in the audio alone, found those with "
                f"{first.audio} ({first.folder}) and with {second.audio} audio ({second.folder}) to differ in "
                f"{', '.join(what)}: predict all of them alike"
            )
    return None


def _differ(first: Stored, second: Stored, key: str) -> bool:
    return bool(first.inputs.get(key) != second.inputs.get(key))


def _command(stored: Stored, modes: str) -> str:
    """The command that made the predictions, with ``modes`` for its audio."""
    words = stored.asked["command"].split()
    if words[:2] != ["avbench", "run"]:
        words = ["avbench", "run", "--method", stored.method, "--split", stored.split]
    return " ".join([*_without(words, ("--audio", "--runs")), "--audio", modes, "--runs", str(stored.runs)])


def _without(words: Sequence[str], options: Sequence[str]) -> list[str]:
    kept, skip = [], False
    for word in words:
        name, equals, _ = word.partition("=")
        if not skip and name not in options:
            kept.append(word)
        skip = not skip and name in options and not equals
    return kept
