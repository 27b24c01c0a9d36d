"""Files that are files. Nothing here imports torch."""

import errno
import os
import stat
from pathlib import Path


def require_file(path: Path) -> None:
    """Refuse a folder, a pipe, whose opening would wait for a writer, and a device, whose reading may never end.

    Raises:
        OSError: for those, and for what cannot be looked at.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "It is no file but a pipe or a device")
