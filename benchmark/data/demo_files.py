"""The bytes of the demo world's files: PNG without compression and 16-bit wave, the same on every machine.

Deflate streams differ between zlib and its successors and JPEG between encoders, so pixels are stored as they are:
every reader opens such a PNG, and the hash of a split can cover the files themselves.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

_STORED = 65_535  # the most that one uncompressed deflate block holds


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _stored(data: bytes) -> bytes:
    """``data`` as a zlib stream of uncompressed blocks."""
    starts = range(0, len(data), _STORED)
    parts = [b"\x78\x01"]
    for start in starts:
        block = data[start : start + _STORED]
        parts.append(struct.pack("<BHH", start == starts[-1], len(block), len(block) ^ 0xFFFF) + block)
    return b"".join(parts) + struct.pack(">I", zlib.adler32(data))


def _png(rows: NDArray[np.uint8], *, width: int, depth: int, colour: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, len(rows), depth, colour, 0, 0, 0)
    filtered = np.zeros((len(rows), rows.shape[1] + 1), dtype=np.uint8)  # the leading 0 of a row means: no filter
    filtered[:, 1:] = rows
    body = _chunk(b"IHDR", header) + _chunk(b"IDAT", _stored(filtered.tobytes())) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def frame_png(pixels: NDArray[np.uint8]) -> bytes:
    """A colour PNG of ``[H, W, 3]`` bytes."""
    return _png(pixels.reshape(len(pixels), -1), width=pixels.shape[1], depth=8, colour=2)


def mask_png(mask: NDArray[np.bool_]) -> bytes:
    """A black and white PNG, one bit a pixel, of ``[H, W]``; True is white."""
    return _png(np.packbits(mask, axis=1), width=mask.shape[1], depth=1, colour=0)


def wav(samples: NDArray[np.int16], rate: int) -> bytes:
    """A mono wave file of 16-bit samples."""
    data = samples.astype("<i2").tobytes()
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
    return (
        struct.pack("<4sI4s", b"RIFF", 36 + len(data), b"WAVE") + form + struct.pack("<4sI", b"data", len(data)) + data
    )
