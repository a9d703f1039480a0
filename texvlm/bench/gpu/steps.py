"""The rows of the table of targets: each sets up what it times, counts it once, and times it.

Every call of a row does the same on other data: frames come from rings in which a known share of tiles
changes, larger than the device's caches, and tables alternate so that every token is sampled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch

from texvlm.backends.base import Counters, Normalisation, Texture
from texvlm.backends.cuda.arrays import stored_channels
from texvlm.backends.cuda.backend import CudaBackend
from texvlm.bench.gpu.launches import LaunchLog
from texvlm.bench.gpu.pictures import Picture, all_changed, some_changed
from texvlm.bench.gpu.report import GpuRow, Metric
from texvlm.bench.gpu.timers import Call, Timer
from texvlm.bench.gpu.why import explain, floor_us
from texvlm.device_frames import DeviceFrame
from texvlm.engine import Engine
from texvlm.layouts import make_layout
from texvlm.layouts.base import Focus
from texvlm.pyramid import TextureSpec, default_levels
from texvlm.yuv import nv12

THRESHOLD = 8.0
"""In texel values: the engine's default."""

SHARE = 0.05
SOURCES = 32
PATCH = 16
DTYPE = torch.float16


@dataclass(slots=True)
class Device:
    """An open backend and what its rows need.

    Attributes:
        backend: open; closed by whoever opened it.
        log: sees its launches.
        timer: measures.
        device: where tensors lie.
        pictures: real-looking frames, an even number, all of one size.
        tokens: budget of the quadtree.
        bytes_per_s: measured copy bandwidth of the device.
        host_bytes_per_s: measured bandwidth of copies from page-locked host memory.
        launch_us: time that one launch adds to a graph.
    """

    backend: CudaBackend
    log: LaunchLog
    timer: Timer
    device: torch.device
    pictures: list[Picture]
    tokens: int
    bytes_per_s: float
    host_bytes_per_s: float
    launch_us: float
    sources: int = SOURCES
    ring: list[torch.Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ring = self.on_device(all_changed(self.pictures))

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the frames."""
        return int(self.pictures[0].shape[1]), int(self.pictures[0].shape[0])

    def on_device(self, frames: Sequence[Picture]) -> list[torch.Tensor]:
        """Copies of frames in device memory."""
        return [torch.from_numpy(frame).to(self.device, copy=True) for frame in frames]

    def texture(self, layers: int = 1) -> Texture:
        """A texture array for the frames, the first of which is in every layer."""
        spec = TextureSpec(self.size, layers, 3, "uint8", default_levels(self.size, PATCH))
        texture = self.backend.create_texture(spec)
        for layer in range(layers):
            texture.frame_sizes[layer] = self.size
            self.backend.refresh(texture, layer, DeviceFrame(self.ring[layer % len(self.ring)]), None)
        return texture

    def row(
        self,
        name: str,
        calls: Sequence[Call],
        bytes_of: Callable[[Counters], float],
        *,
        target_us: float | None = None,
        published: str | None = None,
        metric: Metric = "gpu",
        capture: bool = True,
        from_host: bool = False,
        launching: Call | None = None,
        texvlm: bool = True,
        note: str = "",
    ) -> GpuRow:
        """Count one round, time many, and hold the result against its floor and target.

        Args:
            name: what the report calls it.
            calls: see Timer.measure.
            bytes_of: bytes that one call moves, given one call's share of the counters.
            target_us: to be reached.
            published: the claim to beat.
            metric: which time is held against the target.
            capture: whether the calls may become part of a graph.
            from_host: the floor is that of the bus.
            launching: a call that launches what one of `calls` replays, where they replay graphs.
            texvlm: False for a baseline.
            note: for the reader.
        """
        _round(calls)  # kernels are compiled; the ring is entered at its first frame
        before = _snapshot(self.backend)
        _round(calls)
        work = _snapshot(self.backend) - before
        launches = self.log.of(launching or calls[0])
        _round(calls[0 if launching else 1 :])
        measured = self.timer.measure(calls, capture=capture)
        found = {"gpu": measured.gpu, "stream": measured.stream, "wall": measured.wall}
        if measured.refusal:
            note = f"{note}; not captured: {measured.refusal}"
        if found[metric] is None:  # nothing was captured, or there are no events to time by
            metric = "stream" if measured.stream else "wall"
        used = found[metric] or measured.wall
        share = _share(work, len(calls))
        moved = bytes_of(share)
        rate = self.host_bytes_per_s if from_host else self.bytes_per_s
        reached = round(used.median_ms * 1e3, 3)
        row = GpuRow(
            name=name,
            texvlm=texvlm,
            note=note,
            target_us=target_us,
            published=published,
            metric=metric,
            gpu=measured.gpu,
            stream=measured.stream,
            wall=measured.wall,
            queue=measured.queue,
            bytes_moved=round(moved),
            floor_us=floor_us(moved, rate),
            launches=launches,
            counters={key: count for key, count in share.as_dict().items() if count},
            reached_us=reached,
            ratio=None if target_us is None else round(reached / target_us, 3),
        )
        row.why = explain(row, rate, self.launch_us)
        return row


# ---------------------------------------------------------------- frames in


def ingest_rows(device: Device) -> Iterator[GpuRow]:
    """Frames that lie on the device: all tiles changed, some, none; as RGB and as NV12."""
    texture = device.texture()
    width, height = device.size
    texel = stored_channels(texture.spec)

    def moved(frame_bytes: int) -> Callable[[Counters], float]:
        """The frame and what is stored are read; tiles that changed are written, and their mips."""

        def count(work: Counters) -> float:
            written = work.bytes_uploaded / texture.spec.texel_bytes + work.texels_rebuilt
            return frame_bytes + texel * (width * height + written)

        return count

    def calls(frames: Sequence[Any]) -> list[Call]:
        return [partial(device.backend.refresh, texture, 0, frame, THRESHOLD) for frame in frames]

    packed = width * height * 3
    note = f"{len(device.ring)} frames in turn, {packed * len(device.ring) / 1e6:.0f} MB"
    changed = [DeviceFrame(frame) for frame in device.ring]
    yield device.row(
        "ingest, all tiles changed",
        calls(changed),
        moved(packed),
        target_us=12,
        published="100 us full mips",
        note=note,
    )
    frames, tiles = some_changed(device.pictures[0], len(device.ring), SHARE)
    partly = [DeviceFrame(frame) for frame in device.on_device(frames)]
    yield device.row(
        "ingest, 5 % changed",
        calls(partly),
        moved(packed),
        target_us=8,
        published="50 us incremental",
        note=f"{note}; {tiles} tiles change",
    )
    yield device.row("ingest, nothing changed", calls(partly[:1] * len(partly)), moved(packed), note="one frame")
    yuv = [_as_nv12(device, frame) for frame in device.ring]
    yield device.row(
        "ingest NV12, all tiles changed",
        calls(yuv),
        moved(packed // 2),
        note="converted on the way in, no pass of its own",
    )
    device.backend.destroy_texture(texture)


def _as_nv12(device: Device, frame: torch.Tensor) -> Any:
    """A frame's green as luma, with flat chroma: what an NV12 picture costs does not depend on its colours."""
    height, width = frame.shape[:2]
    y = frame[:, :, 1].contiguous()
    uv = torch.full((-(-height // 2), -(-width // 2), 2), 128, dtype=torch.uint8, device=device.device)
    return nv12(y, uv, matrix="bt709", range="full")


# ---------------------------------------------------------------- tokens out


def sample_rows(device: Device, *, exact: bool = False) -> Iterator[GpuRow]:
    """Every token of one source, and of many in one launch, from a table that lies on the device."""
    suffix = ", exact filter" if exact else ""
    for sources, target, published in ((1, 6, "500 us"), (device.sources, 25, "10 us per source")):
        texture = device.texture(sources)
        calls, count = sampling(device, texture, aligned=True)
        pixels = count * PATCH * PATCH
        moved = pixels * (stored_channels(texture.spec) + 3 * DTYPE.itemsize)
        targets = {} if exact else {"target_us": target, "published": published}
        yield device.row(
            f"sample {count // sources} tokens of {sources} source{'s' * (sources > 1)}{suffix}",
            calls,
            partial(_fixed, moved),
            note=f"{PATCH} x {PATCH} x 3, float16; an aligned quadtree, every token sampled",
            **targets,  # type: ignore[arg-type]
        )
        if sources == 1:
            calls, _ = sampling(device, texture, aligned=False)
            yield device.row(
                f"sample {count} tokens between texels{suffix}",
                calls,
                partial(_fixed, 2 * moved),
                note="the same tokens, moved by a third of a texel and scaled: two levels are mixed for each pixel",
            )
        device.backend.destroy_texture(texture)


def sampling(device: Device, texture: Texture, *, aligned: bool) -> tuple[list[Call], int]:
    """Two calls that sample every token of every layer, and how many tokens that is.

    They use the same table with its rows in another order, so that no token is where it was before.
    """
    layout = make_layout("quadtree", tokens=device.tokens, patch=PATCH)
    tables = []
    for layer in range(texture.spec.layers):
        table = layout.plan(device.size, Focus(np.array([[0.4, 0.6]]) * device.size))
        table["layer"][table["layer"] >= 0] = layer
        tables.append(table)
    table = np.concatenate(tables)
    if not aligned:
        table["x"] += np.float32(1 / 3)
        table["side"] *= np.float32(1.25)
    rows = [torch.from_numpy(np.roll(table, turn).view(np.int32).reshape(-1, 6).copy()) for turn in (0, 1)]
    there = [row.to(device.device) for row in rows]
    keeper = device.backend.keep(texture, len(table), PATCH, DTYPE)
    plain = Normalisation.identity(3)
    return [partial(keeper.refresh, texture, row, plain) for row in there], len(table)


# ---------------------------------------------------------------- frames to tokens


def frame_rows(device: Device) -> Iterator[GpuRow]:
    """A frame in, its tokens out: by graph replay, call by call, and from host memory."""
    width, height = device.size
    packed = width * height * 3
    settings: dict[str, Any] = {"tokens": device.tokens, "patch": PATCH, "dtype": DTYPE, "threshold": THRESHOLD / 255}
    with Engine(device.size, backend=device.backend, channels=3, pixel_dtype="uint8", **settings) as engine:
        gaze = torch.tensor([[[0.4, 0.6]]], device=device.device)
        for frame in device.ring[:2]:
            engine.submit(frame)
            engine.tokens(gaze, copy=False)

        def step(frame: torch.Tensor) -> object:
            engine.submit(frame)
            return engine.tokens(gaze, copy=False)

        def moved(work: Counters) -> float:
            written = work.bytes_uploaded / 3 + work.texels_rebuilt
            return packed + 4 * (width * height + written) + work.tokens_sampled * PATCH**2 * (4 + 3 * DTYPE.itemsize)

        eager: list[Call] = [partial(step, frame) for frame in device.ring]
        note = "all tiles changed, gaze on the device"
        yield device.row(
            "device frame to tokens, call by call", eager, moved, metric="stream", capture=False, note=note
        )
        with engine.capture(device.ring[0], gaze) as graph:
            yield device.row(
                "device frame to tokens, graph replay",
                [partial(graph.replay, frame, gaze) for frame in device.ring],
                moved,
                target_us=25,
                published="650 us",
                metric="stream",
                capture=False,
                launching=eager[0],
                note=f"{note}; each replay gets another frame",
            )
            yield device.row(
                "consecutive frames to tokens, graph replay",
                [partial(graph.replay, frame, gaze) for frame in device.on_device(device.pictures)],
                moved,
                metric="stream",
                capture=False,
                launching=eager[0],
                note="what changes in the video itself, default threshold; once a round it starts anew",
            )
        yield device.row(
            "device frame to tokens, in a graph of the caller's",
            [device.timer.graphed(call) for call in eager],
            moved,
            metric="stream",
            capture=False,
            launching=eager[0],
            note=f"{note}; a torch graph for each frame",
        )
        for pinned in (True, False):
            yield _host_row(device, step, packed, pinned=pinned)


def _host_row(device: Device, step: Callable[[Any], object], packed: int, *, pinned: bool) -> GpuRow:
    """Packed RGB in host memory to tokens."""
    arrays = [frame.cpu() for frame in device.ring]
    if pinned and device.device.type == "cuda":
        arrays = [array.pin_memory() for array in arrays]
    return device.row(
        f"host frame to tokens, {'page-locked' if pinned else 'ordinary'} memory",
        [partial(step, array.numpy()) for array in arrays],
        partial(_fixed, packed),
        target_us=200 if pinned else None,
        published="1.1 ms" if pinned else None,
        metric="wall",
        capture=False,
        from_host=True,
        note="packed RGB, all tiles changed; until the tokens are there",
    )


# ---------------------------------------------------------------- counting


def _snapshot(backend: CudaBackend) -> Counters:
    return Counters(**backend.counters.as_dict())


def _share(work: Counters, calls: int) -> Any:
    """One call's share of what a round did."""
    return Counters(**{name: count / calls for name, count in work.as_dict().items()})  # type: ignore[arg-type]


def _fixed(moved: float, _: Counters) -> float:
    """Bytes of a call that does the same whatever was counted."""
    return moved


def _round(calls: Sequence[Call]) -> None:
    for call in calls:
        call()
