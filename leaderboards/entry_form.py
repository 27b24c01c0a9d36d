"""The form of an entry's JSON: what its records share is written once, and nothing but this form is read."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import date
from types import NoneType
from typing import Any

from avbench.errors import AvbenchError
from avbench.records import Record
from avbench.store import json_bytes

FORMAT = 1
"""Version of the form, raised with every change of meaning."""

Kinds = Mapping[str, tuple[type, ...]]
"""The fields of an object, and the types that each may have; a bool is no int."""

NUMBER = (int, float)

ENTRY: Kinds = {
    "format": (int,),
    "badge": (str,),
    "accepted": (dict,),
    "rerun": (dict, NoneType),
    "shared": (dict,),
    "records": (list,),
    "parameters": (dict, NoneType),
    "listening": (dict, NoneType),
    "evaluations": (list,),
    "maps": (dict,),
    "samples": (str,),
    "samples_sha256": (str,),
}
ACCEPTED: Kinds = {"date": (str,), "by": (str,), "note": (str,), "url": (str,)}
RERUN: Kinds = {"avbench": (str,), "git": (str,), "torch": (str,), "largest": (dict,)}
LARGEST: Kinds = {"metrics": NUMBER, "ciou": NUMBER}
PARAMETERS: Kinds = {"training": (int,), "inference": (int,)}
MAPS: Kinds = {"shape": (list,), "samples": (dict,)}

RECORD: Kinds = {
    **dict.fromkeys(("method", "variant", "split", "protocol", "audio", "seal", "per_sample"), (str,)),
    **dict.fromkeys(("n_expected", "n_scored", "n_positive", "n_nan", "schema"), (int,)),
    **dict.fromkeys(("metrics", "intervals", "provenance", "run"), (dict,)),
    "partial": (bool,),
}
PROVENANCE: Kinds = {
    **dict.fromkeys(("method", "split", "protocol", "metrics", "inputs", "software"), (dict,)),
    **dict.fromkeys(("key", "truth"), (str,)),
    "checkpoint": (dict, NoneType),
}
RUN: Kinds = {"seconds": NUMBER, "command": (str,)}

WORDS = {dict: "an object", list: "a list", str: "a text", int: "an integer", float: "a number", bool: "true or false"}
"""What sentences call the types."""

_NUMBERS = re.compile(r"\[\n\s*((?:-?\d|null)[^\[\]{}\"]*?)\n\s*\]")
"""A list of numbers as :func:`~avbench.store.json_bytes` writes it; a line break is in no text of JSON."""


def factored(contents: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What all ``contents`` have in common, objects within them key by key, and the rest of each.

    Equal are those that are written the same: 1 is not 1.0. :func:`merged` undoes it.

    Args:
        contents: What JSON can hold, at least one.
    """
    shared: dict[str, Any] = {}
    rests: list[dict[str, Any]] = [{} for _ in contents]
    for key in sorted(set().union(*contents)):
        values = [content[key] for content in contents if key in content]
        everywhere = len(values) == len(contents)
        if everywhere and len({json.dumps(value, sort_keys=True) for value in values}) == 1:
            shared[key] = values[0]
        elif everywhere and all(isinstance(value, dict) for value in values):
            inner, others = factored(values)
            shared |= {key: inner} if inner else {}
            for rest, other in zip(rests, others, strict=True):
                rest |= {key: other} if other or not inner else {}
        else:
            for rest, content in zip(rests, contents, strict=True):
                rest |= {key: content[key]} if key in content else {}
    return shared, rests


def merged(shared: Mapping[str, Any], rest: Mapping[str, Any]) -> dict[str, Any]:
    """What :func:`factored` took apart; where both have a key that is no object, ``rest`` holds."""
    found = dict(shared)
    for key, value in rest.items():
        both = isinstance(found.get(key), dict) and isinstance(value, dict)
        found[key] = merged(found[key], value) if both else value
    return found


def compact_json(content: Any) -> bytes:
    """As :func:`~avbench.store.json_bytes`, each list of numbers on one line."""
    text = json_bytes(content).decode()
    return _NUMBERS.sub(lambda found: f"[{''.join(found[1].split())}]", text).encode()


def require_entry(content: Any, called: str) -> None:
    """Refuse what is not an entry of this format; the records in it are not looked into.

    Args:
        content: Of the file.
        called: Its name in sentences.

    Raises:
        AvbenchError: in one sentence, for the first thing that is wrong.
    """
    version = content.get("format") if isinstance(content, dict) else None
    if type(version) is int and version > FORMAT:
        raise AvbenchError(
            f"the entry {called} is of format {version}, newer than the {FORMAT} that this avbench reads: upgrade "
            "avbench"
        )
    if type(version) is not int or version != FORMAT:
        raise AvbenchError(f"expected an entry of format {FORMAT} in {called}, found another form: restore the file")
    require_kinds(content, ENTRY, f"the entry {called}")
    _require_finite(content, called, "")
    require_kinds(content["accepted"], ACCEPTED, f"accepted of {called}")
    _require_date(content["accepted"]["date"], called)
    if content["rerun"] is not None:
        require_kinds(content["rerun"], RERUN, f"rerun of {called}")
        require_kinds(content["rerun"]["largest"], LARGEST, f"rerun.largest of {called}")
    if content["parameters"] is not None:
        require_kinds(content["parameters"], PARAMETERS, f"parameters of {called}")
    for name in ("records", "evaluations"):
        _require_objects(content[name], f"{name} of {called}")
    require_kinds(content["maps"], MAPS, f"maps of {called}")


def require_record(content: Mapping[str, Any], called: str) -> None:
    """Refuse the content of a record whose fields have other types than those that are relied on.

    Raises:
        AvbenchError: in one sentence, for the first thing that is wrong.
    """
    where = f"the record {called}"
    require_kinds(content, RECORD, where, others=True)
    require_kinds(content["provenance"], PROVENANCE, f"provenance of {where}", others=True)
    require_kinds(content["run"], RUN, f"run of {where}", others=True)
    require_kinds(content["metrics"], dict.fromkeys(content["metrics"], (*NUMBER, NoneType)), f"metrics of {where}")
    for name, ends in content["intervals"].items():
        if not isinstance(ends, list) or [type(end) in NUMBER for end in ends] != [True, True]:
            raise AvbenchError(
                f"expected two numbers for {name} in intervals of {where}, found {ends!r}: restore the file"
            )


def require_kinds(content: Any, kinds: Kinds, where: str, *, others: bool = False) -> None:
    """Refuse what is no object with these fields of these types.

    Args:
        content: Anything.
        kinds: Its fields.
        where: Names it in sentences.
        others: Whether it may have further fields.

    Raises:
        AvbenchError: in one sentence.
    """
    if not isinstance(content, dict):
        raise AvbenchError(f"expected an object as {where}, found {content!r}: restore the file")
    missing = [name for name in kinds if name not in content]
    unknown = [] if others else sorted(name for name in content if name not in kinds)
    if missing or unknown:
        parts = [f"no {name}" for name in missing] + [f"{name}, which is unknown" for name in unknown]
        raise AvbenchError(f"{where} has {' and '.join(parts)}: restore the file")
    for name, types in kinds.items():
        if type(content[name]) not in types:
            raise AvbenchError(
                f"expected {_words(types)} for {name} in {where}, found {content[name]!r}: restore the file"
            )


def require_one(records: Sequence[Record], called: str) -> None:
    """Refuse records that are not of one entry.

    Raises:
        AvbenchError: if there is none, a sound is not the sample's own, or they are of several methods, splits,
            selections, predictions or truths, or two of one variant and protocol.
    """
    if not records:
        raise AvbenchError(f"expected one record or more in {called}, found none: restore the file")
    for what, values in (
        ("methods", {record.method for record in records}),
        ("splits", {record.split for record in records}),
        ("selections", {record.selection for record in records}),
        ("predictions", {str(record.provenance["key"]) for record in records}),
        ("truths", {str(record.provenance["truth"]) for record in records}),
    ):
        if len(values) > 1:
            raise AvbenchError(
                f"the records in {called} are of several {what} ({', '.join(sorted(values))}), where an entry has one: "
                "make an entry of each"
            )
    other = next((record.audio for record in records if record.audio != "true"), None)
    if other:
        raise AvbenchError(
            f"the records in {called} are with {other} audio, where an entry has the method's own: leave them out"
        )
    rows = [(record.variant, record.protocol) for record in records]
    twice = next((row for row in rows if rows.count(row) > 1), None)
    if twice:
        raise AvbenchError(f"the record of {twice[0]} under {twice[1]} is in {called} twice: leave one out")


def _words(types: tuple[type, ...]) -> str:
    kept = [WORDS[one] for one in types if one is not NoneType and (one is not int or float not in types)]
    return " or ".join([*kept, *(["null"] if NoneType in types else [])])


def _require_finite(value: Any, called: str, place: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise AvbenchError(f"expected finite numbers in {called}, found {value} at {place}: restore the file")
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        _require_finite(one, called, f"{place}.{key}" if place else str(key))


def _require_objects(rows: Sequence[Any], where: str) -> None:
    for row in rows:
        if not isinstance(row, dict):
            raise AvbenchError(f"expected objects in {where}, found {row!r}: restore the file")


def _require_date(text: str, called: str) -> None:
    try:
        fits = date.fromisoformat(text).isoformat() == text
    except ValueError:
        fits = False
    if not fits:
        raise AvbenchError(f"expected a date YYYY-MM-DD in accepted of {called}, found {text!r}: restore the file")
