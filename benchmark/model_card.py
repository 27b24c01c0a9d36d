"""The README.md beside converted weights: where they come from, what they are, how they are used."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from avbench.official_files import readable
from avbench.registry import MethodInfo


@dataclass(frozen=True)
class Card:
    """What a model card tells; :func:`model_card` writes it."""

    info: MethodInfo
    command: str
    """The method's name on the command line."""
    source: dict[str, Any]
    """``file``, ``sha256``, ``entry``, ``module_prefix``, ``tensors``, ``dropped``, ``recast`` and ``held``."""
    sha256: str
    """Of the weights as written."""
    config: dict[str, Any]
    parameters: int
    kept: int


def model_card(card: Card) -> str:
    """Markdown with YAML front matter; the same card for the same contents, whatever the folder or the day."""
    parts = [_front(card), _title(card), _origin(card), _keys(card), _held(card), _settings(card), _usage(card)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _front(card: Card) -> str:
    import yaml

    told = {
        "library_name": "avbench",
        "method": card.info.name,
        "paper": card.info.paper,
        "official_code": card.info.official,
        "source_file": card.source["file"],
        "source_sha256": card.source["sha256"],
        "weights_sha256": card.sha256,
        "parameters": card.parameters,
        "settings": card.config,
        "held": card.source["held"],
    }
    return f"---\n{yaml.safe_dump(told, sort_keys=False, allow_unicode=True, width=1000)}---"


def _title(card: Card) -> str:
    learns = f"Training labels: {card.info.labels}. Pretrained parts: {card.info.pretrained}."
    return f"# {card.info.name}: {_code(card.source['file'])} for avbench\n\n{card.info.summary}\n\n{learns}"


def _origin(card: Card) -> str:
    source = card.source
    place = f"under {_code(source['entry'])}" if source["entry"] else "as the whole file"
    prefix = "with" if source["module_prefix"] else "without"
    rows = {
        "paper": card.info.paper or "not stated",
        "official code": card.info.official or "not stated",
        "source file": f"{_code(source['file'])}, weights {place}, names {prefix} `module.`",
        "its SHA-256": _code(source["sha256"]),
        "SHA-256 of `model.safetensors`": _code(card.sha256),
        "parameters": f"{card.parameters:,}",
    }
    return f"## Where it comes from\n\n{_table(('', ''), rows)}"


def _keys(card: Card) -> str:
    counts = {
        "in the file": card.source["tensors"],
        "kept": card.kept,
        "dropped": len(card.source["dropped"]),
        "missing, unexpected or of another shape": 0,
    }
    lines = [f"## Tensors\n\n{_table(('tensors', 'number'), counts)}"]
    if card.source["dropped"]:
        lines.append(_table(("dropped", "why"), {_code(key): why for key, why in card.source["dropped"].items()}))
    if card.source["recast"]:
        cast = {_code(key): f"{kind} in the file" for key, kind in card.source["recast"].items()}
        lines.append(_table(("stored in the method's own type", "what it was"), cast))
    return "\n\n".join(lines)


def _held(card: Card) -> str:
    told = {_code(key): _code(value) for key, value in card.source["held"].items()}
    if not told:
        return ""
    return (
        "## What else the file held\n\nAs the file says it, not checked; none of it is in `model.safetensors`.\n\n"
        + _table(("entry", "value"), told)
    )


def _settings(card: Card) -> str:
    rows = {_code(key): _code(json.dumps(value)) for key, value in card.config.items()}
    return (
        "## Settings\n\nThe published values, but for what the shapes or `--set` said. How the checkpoint was selected "
        f"is unknown.\n\n{_table(('setting', 'value'), rows)}"
    )


def _usage(card: Card) -> str:
    return f"""## How to use it

With this folder at `FOLDER`:

```
avbench run --method {card.command} --split demo --checkpoint FOLDER
```

```python
import avbench

method = avbench.load_method({json.dumps(card.command)}, checkpoint="FOLDER")  # in eval mode
```

Nothing of the original code is needed, and no code is in these files."""


def _table(head: tuple[str, str], rows: dict[str, Any]) -> str:
    lines = [head, ("---", "---"), *rows.items()]
    return "\n".join(f"| {_cell(left)} | {_cell(right)} |" for left, right in lines)


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|")


def _code(value: Any) -> str:
    """``value`` as code; it may come from a file, so that no backtick of its own ends it."""
    return f"`{readable(str(value)).replace('`', chr(39))}`"
