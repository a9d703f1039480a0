"""Compiled kernels on disk: one file each, whole or absent, checked when read, safe to delete."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import sys
import tempfile
import threading
from pathlib import Path

_log = logging.getLogger("texvlm")

_MARK = b"texvlm kernel 1\n"
_DIGEST = hashlib.sha256().digest_size

_built: dict[str, bytes] = {}
"""What this process compiled: a second engine compiles nothing, also where no folder can be written."""

_said: set[Path] = set()
_lock = threading.Lock()


def default_folder() -> Path:
    """Where kernels are kept: $TEXVLM_CACHE/kernels, or texvlm/kernels in the user's cache folder."""
    chosen = os.environ.get("TEXVLM_CACHE")
    if chosen:
        return Path(chosen) / "kernels"
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
        return (Path(base) if base else Path.home() / "AppData" / "Local") / "texvlm" / "kernels"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "texvlm" / "kernels"


class ImageCache:
    """One folder of images by name. Several processes may use it at once.

    Attributes:
        folder: where they lie; made when the first one is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, name: str) -> bytes | None:
        """An image that was put under this name; None for one that is not there, or is damaged."""
        path = self.folder / name
        with _lock:
            found = _built.get(str(path))
        if found is not None:
            return found
        try:
            data = path.read_bytes()
        except OSError:
            return None
        if not data.startswith(_MARK):
            return None
        digest, image = data[len(_MARK) : len(_MARK) + _DIGEST], data[len(_MARK) + _DIGEST :]
        return image if hashlib.sha256(image).digest() == digest else None

    def put(self, name: str, image: bytes) -> None:
        """Keep an image. A folder that cannot be written costs one log line, not the image."""
        path = self.folder / name
        with _lock:
            _built[str(path)] = image
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # code is run from here: no one else's
            _write(path, _MARK + hashlib.sha256(image).digest() + image)
        except OSError as error:
            with _lock:
                first = self.folder not in _said
                _said.add(self.folder)
            if first:
                _log.warning(
                    "kernels cannot be kept in %s (%s): every process compiles them again; "
                    "set TEXVLM_CACHE to a folder that can be written",
                    self.folder,
                    error.strerror or error,
                )


def _write(path: Path, data: bytes) -> None:
    """Write under a name that no other process uses, then rename: readers see all of it or none."""
    handle, temporary = tempfile.mkstemp(prefix=path.name, suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
