"""Captured frames of the cuda backend: frames in and tokens out as one launch, replayed on other frames."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING

import torch

from texvlm.backends.base import Counters, Texture
from texvlm.backends.capture import CaptureRequest, FrameRecording
from texvlm.backends.cuda.api import Stream
from texvlm.backends.cuda.arrays import CudaTexture
from texvlm.backends.cuda.attached import AttachingBackend
from texvlm.backends.cuda.device_state import Parts
from texvlm.backends.cuda.frame_pixels import all_resident
from texvlm.backends.cuda.graphs import CapturedFrame
from texvlm.backends.cuda.host_frames import HostFrames

if TYPE_CHECKING:
    from texvlm.backends.base import Picture


class CapturingBackend(AttachingBackend):
    """The three verbs of a cuda backend that make, run and free captured frames."""

    _counted: Counters
    _host_frames: HostFrames
    _parts: Parts

    @abstractmethod
    def _queue(self, stage: str = "") -> AbstractContextManager[Stream]:
        """The scope of what is queued by one call, on the stream that it gives."""

    @abstractmethod
    def _handle(self, texture: Texture) -> CudaTexture:
        """What the device keeps of a texture; ClosedError for one that was destroyed."""

    @abstractmethod
    def _wait_for_device(self) -> None:
        """Wait on the host for everything queued through this backend."""

    def capture(self, request: CaptureRequest, frames: Sequence[Picture]) -> CapturedFrame:
        """See Backend."""
        handle = self._handle(request.texture)
        with self._queue() as stream:
            return CapturedFrame(self._parts, handle, request, all_resident(frames, self.device), stream)

    def replay(self, recording: FrameRecording, frames: Sequence[Picture], fixations: torch.Tensor | None) -> None:
        """See Backend. One launch."""
        assert isinstance(recording, CapturedFrame), "this backend captured it"
        with self._queue("replay") as stream:
            recording.place(all_resident(frames, self.device), fixations, stream)
            self._host_frames.written(*recording.written, stream)
            recording.launch(stream)
            self._counted.tiles_compared += recording.tiles

    def release(self, recording: FrameRecording) -> None:
        """See Backend. Waits for replays under way."""
        assert isinstance(recording, CapturedFrame), "this backend captured it"
        with self._queue(), ExitStack() as steps:  # as in destroy_texture
            steps.callback(recording.close)
            steps.callback(self._wait_for_device)
