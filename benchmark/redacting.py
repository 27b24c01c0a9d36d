"""Commands without the folders of the machine that they were typed on."""

from __future__ import annotations

import re
import shlex

SEPARATORS = r"[/\\]"
"""Between the parts of a path, on whichever system."""

ABSOLUTE = re.compile(r"""(?:^|(?<=[\s=,"'(]))(?:/|~[/\\]|[A-Za-z]:[/\\])[^\s/\\]\S*""")
"""An absolute path, or one below a home folder, anywhere in a text; the path of a URL is none."""


def redacted(command: str) -> str:
    """``command`` with the last component alone of every argument that is a path, which says where nobody else can go.

    Every argument with a separator of folders counts, be there such a file or not, and so does one that begins with a
    home folder's ``~``; of ``--option=PATH``, ``METHOD=PATH`` and ``PATH,PATH`` each path by itself. What cannot be
    split as a shell would is split at blanks. Doing it twice changes nothing more, and a command without paths is
    returned as it is.
    """
    try:
        arguments = shlex.split(command)
    except ValueError:
        arguments = command.split()
    plain = [_argument(argument) for argument in arguments]
    return command if plain == arguments else shlex.join(plain)


def _argument(argument: str) -> str:
    head, equals, rest = argument.partition("=")
    if equals and not _is_path(head):
        return f"{head}={_argument(rest)}"
    return ",".join(_last(part) for part in argument.split(","))


def _is_path(text: str) -> bool:
    return text.startswith("~") or re.search(SEPARATORS, text) is not None


def _last(text: str) -> str:
    if not _is_path(text):
        return text
    parts = [part for part in re.split(SEPARATORS, text) if part]
    last = parts[-1] if parts else "."
    return "~" if last.startswith("~") else last
