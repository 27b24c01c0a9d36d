"""Boxes of a single sample in XML, as Flickr-SoundNet has them beside its media. Nothing here imports torch."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

from avbench.data.readers_pairs import canvas_fraction
from avbench.data.readers_strict import read_bytes
from avbench.errors import AvbenchError
from avbench.types import CANVAS, Box

FRAME = 256
"""Side of the frame that the corners are pixels of."""

LARGEST = 1 << 20
"""Bytes: a file of three annotators has about a thousand."""

CORNERS = ("xmin", "ymin", "xmax", "ymax")


def read_boxes(path: Path) -> tuple[Box, ...]:
    """All boxes of a file, whoever drew them, as fractions of the frame.

    A box is an element ``bbox`` at any depth that holds ``xmin``, ``ymin``, ``xmax`` and ``ymax``, whole pixels of a
    256 x 256 frame; what else it holds is passed over. A coordinate v becomes the pixel ``int(224 * v / 256)`` of the
    canvas, as :func:`avbench.metrics.ground_truth.consensus_map` has it. Corners beyond the frame are kept, and cut
    where boxes are drawn.

    Raises:
        AvbenchError: for a file that is no XML, declares entities or a document type, is larger than a megabyte or
            holds no such box.
    """
    boxes = tuple(_box(path, element) for element in _parsed(path).iter("bbox"))
    if not boxes:
        raise AvbenchError(f"{path} holds no element bbox: expected the boxes of the annotators, fetch the file again")
    return boxes


def _parsed(path: Path) -> ElementTree.Element:
    content = read_bytes(path)
    if len(content) > LARGEST:
        raise AvbenchError(f"{path} has {len(content)} bytes: expected the boxes of one picture, fetch the file again")
    try:
        text = content.decode()
        if re.search(r"<!\s*(?:DOCTYPE|ENTITY)", text, re.IGNORECASE):
            raise AvbenchError(f"{path} declares a document type or entities, which are not read: expected plain XML")
        # Parsed as text, so that no other encoding hides a declaration: without one no entity can grow.
        return ElementTree.fromstring(text)  # noqa: S314
    except (ElementTree.ParseError, ValueError, RecursionError) as problem:
        raise AvbenchError(f"{path} is not XML or is cut off ({problem}): fetch the file again") from problem


def _box(path: Path, element: ElementTree.Element) -> Box:
    x0, y0, x1, y1 = (_fraction(path, element, corner) for corner in CORNERS)
    return x0, y0, x1, y1


def _fraction(path: Path, element: ElementTree.Element, corner: str) -> float:
    value = (element.findtext(f".//{corner}") or "").strip()
    if not re.fullmatch(r"-?[0-9]{1,6}", value):
        raise AvbenchError(f"{path}: expected a whole number of pixels under {corner} of a bbox, got {value[:50]!r}")
    return canvas_fraction(int(CANVAS * int(value) / FRAME))
