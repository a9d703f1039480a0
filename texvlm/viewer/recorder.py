"""Pictures into a video file on a thread of their own, so that the encoder never holds up who draws."""

from __future__ import annotations

import threading
from collections import deque
from pathlib import Path

from texvlm.drawing.pictures import Image
from texvlm.drawing.preview import PreviewWriter
from texvlm.errors import ClosedError

WAITING = 4
"""Pictures that may wait for the encoder; where it falls further behind, new ones are dropped and counted."""


class Recorder:
    """Owns an mp4 while it is written; the file appears when `finish` has made it whole.

    Args:
        path: the mp4; its folder must exist.
        size: (width, height) of the first pictures; later ones are scaled to fit.
        rate: nominal pictures per second.
        patient: `write` waits for the encoder instead of dropping.
    Raises:
        StoreError: the file cannot be written.

    Attributes:
        dropped: pictures that came while too many were waiting.
    """

    def __init__(self, path: str | Path, size: tuple[int, int], *, rate: float = 30.0, patient: bool = False) -> None:
        self.dropped = 0
        self._writer = PreviewWriter(path, size, rate=rate)
        self._patient = patient
        self._queue: deque[tuple[Image, float | None]] = deque()
        self._changed = threading.Condition()
        self._finishing = False
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._encode, name="texvlm recorder", daemon=True)
        self._thread.start()

    @property
    def path(self) -> Path:
        """The file."""
        return self._writer.path

    def write(self, image: Image, time_s: float | None = None) -> None:
        """Add a picture, (height, width, 3) uint8, which must stay as it is.

        Args:
            image: the picture.
            time_s: when it was shown, seconds; None follows the one before at the nominal rate.
        Raises:
            StoreError: an earlier picture could not be written; the file is gone.
        """
        with self._changed:
            if self._finishing:
                raise ClosedError(f"the recording {self.path} is closed")
            if self._patient:
                self._changed.wait_for(lambda: len(self._queue) < WAITING or self._error)
            if self._error is not None:
                raise self._error
            if len(self._queue) >= WAITING:
                self.dropped += 1
                return
            self._queue.append((image, time_s))
            self._changed.notify_all()

    def finish(self) -> int:
        """Write what waits and make the file whole; how many pictures it holds. May be called twice.

        Raises:
            StoreError: it could not be written.
        """
        with self._changed:
            self._finishing = True
            self._changed.notify_all()
        self._thread.join()
        error, self._error = self._error, None
        if error is not None:
            raise error
        return self._writer.frames

    def _encode(self) -> None:
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._queue or self._finishing)
                    if not self._queue:
                        break
                    image, time_s = self._queue.popleft()
                    self._changed.notify_all()
                self._writer.write(image, time_s)
            self._writer.finish()
        except Exception as error:  # handed over: a thread must not swallow it
            self._writer.discard()
            with self._changed:
                self._error = error
                self._queue.clear()
                self._changed.notify_all()
