"""A captured frame: ingest, tail, plan and sample of some views as one launch.

Everything that a replay needs lies on the device, tile versions and kept rows too, so a replay does
what the calls would have done: it updates the tiles that changed and samples the tokens that need it.
What changes between replays is where the frames and the fixations lie: the kernel nodes that read them
get new arguments, and nothing is copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

import torch

from texvlm.backends.capture import CaptureRequest, FrameRecording
from texvlm.backends.cuda.api import Stream
from texvlm.backends.cuda.arrays import CudaTexture
from texvlm.backends.cuda.device_state import Parts
from texvlm.backends.cuda.frame_pixels import FramePixels
from texvlm.backends.cuda.launch import Launch
from texvlm.backends.cuda.sampler import KeptTokens
from texvlm.errors import DeviceCallError
from texvlm.profiling import profile_range
from texvlm.regions import tile_grid


class CapturedFrame(FrameRecording):
    """One executable graph. Owns it, and holds on to the memory that its nodes use.

    Attributes:
        tiles: that a replay compares.
    """

    def __init__(
        self,
        parts: Parts,
        texture: CudaTexture,
        request: CaptureRequest,
        frames: Sequence[FramePixels],
        stream: Stream,
    ) -> None:
        """Capture; nothing runs.

        Args:
            parts: of the backend.
            texture: that of the request.
            request: what to capture.
            frames: one for each of `frame_layers`, of the size that the layer holds.
            stream: torch's current one; what must be on the device before a replay is queued there.
        """
        _check_fixations(request.fixations, tuple(request.fixations.shape))
        self._parts, self._texture, self._request = parts, texture, request
        device = parts.driver.device
        grids = [tile_grid(frame.size) for frame in frames]
        self._tiles = [torch.empty((rows, columns), dtype=torch.bool, device=device) for columns, rows in grids]
        ingest = [self._ingest(index, frame, stream) for index, frame in enumerate(frames)]
        plan = parts.planner.prepare(
            request.layout, request.sizes, request.layers, request.fixations, request.weights, stream=stream
        )
        self.rows = plan.rows
        count = int(self.rows.shape[0] * self.rows.shape[1])
        shape = (count, texture.spec.channels, request.layout.patch, request.layout.patch)
        self.pixels = torch.empty(shape, dtype=request.dtype, device=device)
        self._kept = KeptTokens.fresh(self.pixels)
        self.dirty = torch.empty(count, dtype=torch.bool, device=device)
        sample = parts.sampler.launch(
            texture,
            self.rows.view(count, -1),
            self.pixels,
            request.normalisation,
            kept=self._kept,
            dirty=self.dirty,
            stream=stream,
            totals=parts.totals,
        )
        self._fixations = request.fixations
        self._first_plan = sum(map(len, ingest))
        self._launches = [*(launch for launches in ingest for launch in launches), *plan.launches, sample]
        self._ingest_at = [sum(map(len, ingest[:index])) for index in range(len(ingest))]
        self.tiles = sum(columns * rows for columns, rows in grids)
        self._objects = texture.storage.objects(stream)
        self._executable: int | None = None
        self._graph = 0
        self._nodes: list[int] = []
        self._record()

    @property
    def written(self) -> tuple[CudaTexture, tuple[int, ...]]:
        """The texture array, and its layers, that a replay writes."""
        return self._texture, tuple(self._request.frame_layers)

    def place(self, frames: Sequence[FramePixels], fixations: torch.Tensor | None, stream: Stream) -> None:
        """Let the next replays read other frames, and other fixations where they are given.

        Raises:
            ValueError: they have another shape, element type or kind than those captured.
        """
        changes: list[tuple[int, Launch]] = []
        for index, frame in enumerate(frames):
            if frame.size != (shape := self._size(index)):
                raise ValueError(f"frame of {frame.size}; {shape} was captured: capture anew for another size")
            changes.append((self._ingest_at[index], self._ingest(index, frame, stream)[0]))
        if fixations is not None:
            captured = self._request.fixations
            _check_fixations(fixations, tuple(captured.shape))
            for index in range(self._first_plan, len(self._launches) - 1):
                changes.append((index, _moved(self._launches[index], self._fixations, fixations)))
        for index, launch in changes:
            old = self._launches[index]
            if (launch.kernel, launch.grid, launch.block) != (old.kernel, old.grid, old.block):
                raise ValueError("a frame or fixations of another element type or kind than captured; capture anew")
        assert self._executable is not None, "the graph is open"
        for index, launch in changes:
            self._parts.driver.set_arguments(
                self._executable,
                self._nodes[index],
                launch.kernel.handle,
                launch.grid,
                launch.block,
                launch.arguments.ctypes.data,
            )
            self._launches[index] = launch
        self._fixations = self._fixations if fixations is None else fixations

    def launch(self, stream: Stream) -> None:
        """Queue a replay: as one launch, or kernel by kernel where the caller captures a graph of its own.

        Raises:
            DeviceCallError: OpenGL had the array in between, and what was captured is gone.
        """
        assert self._executable is not None, "the graph is open"
        if self._texture.storage.objects(stream) != self._objects:
            raise DeviceCallError("replay: the texture array was mapped anew since the capture; capture anew")
        with profile_range("replay", "sample", len(self._request.layers)):
            if self._parts.driver.is_capturing(stream):  # CUDA takes no graph into one that is being captured
                for launch in self._launches:
                    launch.run(stream)
            else:
                self._parts.driver.launch_graph(self._executable, stream)

    def close(self) -> None:
        """Destroy the graph. No replay may be under way. May be called twice."""
        executable, self._executable = self._executable, None
        graph, self._graph = self._graph, 0
        self._launches.clear()
        with ExitStack() as steps:  # last step first, and every step whatever fails
            if graph:
                steps.callback(self._parts.driver.destroy_graph, graph)  # whose nodes name those of the executable
            if executable is not None:
                steps.callback(self._parts.driver.destroy_executable, executable)

    def _size(self, index: int) -> tuple[int, int]:
        """(width, height) of one captured frame."""
        fields = self._launches[self._ingest_at[index]].arguments["frame"][0]
        return int(fields["width"]), int(fields["height"])

    def _ingest(self, index: int, frame: FramePixels, stream: Stream) -> list[Launch]:
        """The pass over one frame, and its tail."""
        return self._parts.ingest.plan_refresh(
            self._texture,
            self._texture.storage.objects(stream),
            self._request.frame_layers[index],
            frame,
            limit=self._request.threshold,
            tiles=self._tiles[index],
            totals=self._parts.totals,
        )

    def _record(self) -> None:
        """Capture the launches on a stream of their own."""
        driver = self._parts.driver
        with ExitStack() as unless_made:
            unless_made.callback(self.close)
            stream = driver.create_stream()
            try:
                driver.begin_capture(stream)
                try:
                    for launch in self._launches:
                        launch.run(stream)
                finally:
                    self._graph = driver.end_capture(stream)
                self._nodes = driver.kernel_nodes(self._graph)
                assert len(self._nodes) == len(self._launches), "a launch is a kernel node"
                self._executable = driver.instantiate(self._graph)
            finally:
                driver.destroy_stream(stream)
            unless_made.pop_all()


def _check_fixations(fixations: torch.Tensor, shape: tuple[int, ...]) -> None:
    """ValueError for fixations that kernels cannot read where they lie: a copy would never be made again."""
    if tuple(fixations.shape) != shape or fixations.dtype != torch.float32 or not fixations.is_contiguous():
        raise ValueError(
            f"fixations of shape {tuple(fixations.shape)}, {fixations.dtype}; a captured frame takes contiguous "
            f"torch.float32 of shape {shape}"
        )


def _moved(launch: Launch, old: torch.Tensor, new: torch.Tensor) -> Launch:
    """The same launch with fixations that lie elsewhere."""
    arguments = launch.arguments.copy()
    arguments["fixations"] = int(arguments["fixations"][0]) + new.data_ptr() - old.data_ptr()
    kept = tuple(tensor for tensor in launch.memory if tensor is not old)
    return replace(launch, arguments=arguments, memory=(*kept, new))
