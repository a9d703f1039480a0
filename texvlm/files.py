"""Files that are whole or absent, and a folder that one writer owns.

A file is written under a temporary name in its own folder, synced to the disk and renamed, so a
killed process or a full disk leaves the earlier file, or none, and a `.tmp` leftover that the next
writer removes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from texvlm.errors import StoreError

TEMPORARY = ".tmp"
"""Ending of a file that is still being written."""


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is there in full or not at all, and survives a power cut.

    Raises:
        OSError: the folder is missing, read-only or full; an earlier file of that name is untouched
            and the temporary one is gone.
    """
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder last; a file system that cannot sync folders is left as it is."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def remove_leftovers(folder: Path, names: Iterable[str]) -> None:
    """Delete temporary files of the given patterns (globs without the ending) that a killed run left."""
    for name in names:
        for path in folder.glob(name + TEMPORARY):
            path.unlink(missing_ok=True)


def fingerprint(path: str | Path) -> str | None:
    """Size and a hash of the first mebibyte of a file: enough to tell that it is another one.

    Returns None for what is no regular file (a folder, a device, an address).
    """
    try:
        file_path = Path(path)
        if not file_path.is_file():
            return None
        with file_path.open("rb") as file:
            head = hashlib.sha256(file.read(1 << 20)).hexdigest()
        return f"{file_path.stat().st_size} bytes, sha256 of the first MiB {head[:16]}"
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return None


class FolderLock:
    """Keeps a second writer out of a folder. The system frees it when the process dies, however it dies.

    The lock is on the folder itself and leaves no file behind. Where the file system knows no locks
    (some network mounts) it does nothing.
    """

    def __init__(self, folder: Path) -> None:
        self._handle: int | None = None
        try:
            import fcntl  # not on Windows
        except ImportError:
            return
        handle = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise StoreError(
                f"{folder} is being written by another process; wait for it or use another folder"
            ) from None
        except OSError:
            os.close(handle)
            return
        self._handle = handle

    def close(self) -> None:
        """Let the next writer in; may be called twice."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
