"""The demo: a moving fixation on a scene or a clip, timed beside the dense grid on the same frames.

The input is read twice: first for the clock, each frame through an engine whose fixation moves, one
whose fixation rests, and the dense baseline, and nothing else runs; then again to store the tokens
and to draw, which would keep the processors busy in between. All contestants are warmed up first,
because kernels are compiled when they are first called. Nothing here prints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (the name everybody knows it by)
from numpy.typing import NDArray

from texvlm.backends.base import Counters
from texvlm.drawing.pictures import draw_sheet, write_png
from texvlm.encode import EncodeSettings, encode
from texvlm.encode.album import check_pictures
from texvlm.errors import SourceError, StoreError
from texvlm.sources import Source
from texvlm.store.meta import META_NAME

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Normalisation of the models that were trained on ImageNet, the usual one; both contestants apply it."""

DENSE_SIDE, PATCH = 1024, 16
"""The dense grid: 1024 x 1024 pixels in patches of 16, 4096 tokens."""

MARK = ".texvlm-demo"
"""File by which the demo knows its own token folder, which it may replace."""

WARM_UP_SIZE = (640, 360)

PICTURE_AT = 0.3
"""The frame that demo.png shows, as a share of the clip: things have moved, and a cut is not yet due."""

Dense = Callable[[NDArray[np.uint8]], torch.Tensor]
Progress = Callable[[int, int | None], None]


@dataclass(frozen=True, slots=True)
class DemoReport:
    """What the demo did and measured. Means and medians leave out the first frame, which is all new.

    Attributes:
        source: what was read.
        size: (width, height) of the frames, texels.
        frames: frames encoded.
        backend: name of the backend.
        tokens: tokens of each frame.
        tokens_sampled: mean of those that had to be sampled.
        tiles_share: mean share of tiles that changed, 0..1.
        stages_ms: median milliseconds of each stage.
        ms: median milliseconds from the frame to its tokens.
        first_ms: the same for the first frame.
        resting_ms: the same as `ms` for a fixation that rests in the middle.
        dense_ms: milliseconds of the dense baseline, 10th percentile: its work is the same for every frame,
            so that its fast calls are what it costs where nothing disturbs it.
        dense_tokens: tokens of the dense baseline.
        dense_resize: what resized for it: "OpenCV" or "torch".
        bytes_uploaded: mean bytes of texels written for a frame.
        frame_bytes: bytes of a frame.
        worst_difference: greatest |stored - frame| of the last frame, in 1/255; the threshold bounds it.
        threshold: that bound, in 1/255.
        picture, preview, tokens_folder: what was written.
    """

    source: str
    size: tuple[int, int]
    frames: int
    backend: str
    tokens: int
    tokens_sampled: float
    tiles_share: float
    stages_ms: dict[str, float]
    ms: float
    first_ms: float
    resting_ms: float
    dense_ms: float
    dense_tokens: int
    dense_resize: str
    bytes_uploaded: float
    frame_bytes: int
    worst_difference: float
    threshold: float
    picture: str
    preview: str
    tokens_folder: str

    @property
    def ratio(self) -> float:
        """How many times as fast as the dense baseline."""
        return self.dense_ms / self.ms

    @property
    def resting_ratio(self) -> float:
        """The same for a fixation that rests."""
        return self.dense_ms / self.resting_ms


def demo_settings(source: str = "scene", *, frames: int | None = None, backend: str = "auto") -> EncodeSettings:
    """The demo's job: a fixation that sweeps over the frame, float tokens, only the changes kept.

    Args:
        source: what `open_source` takes, but for live inputs, which cannot be read twice.
        frames: stop after so many; None for all.
        backend: as for Engine.
    Raises:
        ValueError: `frames` is below 1.
    """
    return EncodeSettings(
        input=source,
        frames=frames,
        backend=backend,
        moving=True,
        patch=PATCH,
        dtype="float32",
        mean=MEAN,
        std=STD,
        store="changes",
    )


def check_demo(settings: EncodeSettings, out: Path) -> None:
    """Open the input and make the folder, so that what is wrong with them is told before anything slow.

    Raises:
        SourceError, StoreError: the input or the folder cannot be used, or the demo would write over
            its own input.
        ValueError: a live input.
    """
    with _opened(settings):
        _claim(out)
    check_pictures(settings, preview=out / "preview.mp4", still=out / "demo.png")


def warm_up(settings: EncodeSettings) -> None:
    """Compile, or load from the disk, every kernel that the demo times or draws with."""
    dense, _ = open_dense()
    gaze = settings.make_gaze()
    width, height = WARM_UP_SIZE
    with settings.make_engine(WARM_UP_SIZE, settings.make_layout()) as engine:
        for second, level in enumerate((0, 200, 0, 200)):
            pixels = np.full((height, width, 3), level, np.uint8)
            report = engine.submit(pixels)
            batch = engine.tokens(gaze.at(second)[None], copy=False)
            dense(pixels)
        draw_sheet(pixels, batch, report.tiles, fixations=gaze.at(0) * WARM_UP_SIZE, mean=MEAN, std=STD)


def run_demo(settings: EncodeSettings, out: Path, *, progress: Progress | None = None) -> DemoReport:
    """Measure, then store and draw.

    Args:
        settings: from `demo_settings`.
        out: folder for demo.png, preview.mp4 and tokens/; an earlier demo in it is replaced.
        progress: told (frames done, frames in all or None), both readings counted.
    Raises:
        SourceError, StoreError, BackendUnavailable: the input, the folder or the backend cannot be used.
        ValueError: a live input.
    """
    tell = progress or (lambda done, total: None)
    with _opened(settings) as video:
        total = min((n for n in (settings.frames, video.frames) if n is not None), default=None)
        report = _measure(settings, out, video, lambda done: tell(done, None if total is None else 2 * total))
    _claim(out)
    # Second reading: tokens to disk, and pictures of every frame.
    encode(
        settings,
        report.tokens_folder,
        preview=report.preview,
        progress=lambda now: tell(report.frames + now.frame, 2 * report.frames),
    )
    _draw_picture(settings, Path(report.picture), int(PICTURE_AT * report.frames))
    return report


def open_dense() -> tuple[Dense, str]:
    """The dense baseline (frame to 4096 normalised patches), and what resizes in it: "OpenCV" or "torch"."""
    try:
        from texvlm.bench.baselines import DenseTokens
    except ImportError:  # an extra: `pip install "texvlm[bench]"`
        return _dense_by_torch, "torch"
    return DenseTokens(DENSE_SIDE, PATCH), "OpenCV"


def _dense_by_torch(pixels: NDArray[np.uint8]) -> torch.Tensor:
    """(4096, 3, 16, 16) float32."""
    planes = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
    resized = F.interpolate(planes, (DENSE_SIDE, DENSE_SIDE), mode="bilinear", align_corners=False)[0]
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    normalised = (resized / 255 - mean) / std
    patches = normalised.unfold(1, PATCH, PATCH).unfold(2, PATCH, PATCH)
    return patches.permute(1, 2, 0, 3, 4).reshape(-1, 3, PATCH, PATCH)


@contextmanager
def _opened(settings: EncodeSettings) -> Iterator[Source]:
    """The input from its beginning."""
    with settings.open_source() as video:
        if video.info.kind == "live":
            raise ValueError(
                f"{settings.input} is live and the demo reads its input twice; give a file, a folder or scene"
            )
        yield video


def _measure(settings: EncodeSettings, out: Path, video: Source, tell: Callable[[int], None]) -> DemoReport:
    """First reading: both contestants take turns, and nothing else runs."""
    dense, resize = open_dense()
    gaze = settings.make_gaze()
    ours: list[float] = []
    theirs: list[float] = []
    tiles: list[float] = []
    stages: dict[str, list[float]] = {}
    resting: list[float] = []
    layout = settings.make_layout()
    with settings.make_engine(video.size, layout) as engine, settings.make_engine(video.size, layout) as other:
        before, first = engine.times_ms, Counters()
        for index, frame in enumerate(islice(video, settings.frames)):
            look = gaze.at(frame.pts)[None]
            start = perf_counter()
            report = engine.submit(frame)
            batch = engine.tokens(look, copy=False)
            ours.append(1e3 * (perf_counter() - start))
            start = perf_counter()
            other.submit(frame)
            other.tokens(copy=False)
            resting.append(1e3 * (perf_counter() - start))
            start = perf_counter()
            dense_tokens = len(dense(frame.pixels))
            theirs.append(1e3 * (perf_counter() - start))
            tiles.append(float(report.tiles.mean()))
            after = engine.times_ms
            for name, ms in after.items():
                stages.setdefault(name, []).append(ms - before[name])
            before = after
            if index == 0:
                first = engine.counters - Counters()
            tell(index + 1)
        if not ours:
            raise SourceError(f"{settings.input}: it has no frame")
        work = engine.counters - first if len(ours) > 1 else first
        later = max(len(ours) - 1, 1)
        difference = np.abs(engine.read_level(0).astype(np.int16) - frame.pixels)
        return DemoReport(
            source=settings.input,
            size=frame.size,
            frames=len(ours),
            backend=engine.backend_name,
            tokens=int(batch.table.shape[1]),
            tokens_sampled=work.tokens_sampled / later,
            tiles_share=float(np.mean(tiles[1:] or tiles)),
            stages_ms={name: _typical(ms) for name, ms in stages.items()},
            ms=_typical(ours),
            first_ms=ours[0],
            resting_ms=_typical(resting),
            dense_ms=float(np.percentile(theirs, 10)),
            dense_tokens=dense_tokens,
            dense_resize=resize,
            bytes_uploaded=work.bytes_uploaded / later,
            frame_bytes=frame.pixels.nbytes,
            worst_difference=float(difference.max()),
            threshold=255 * settings.threshold,
            picture=str(out / "demo.png"),
            preview=str(out / "preview.mp4"),
            tokens_folder=str(out / "tokens"),
        )


def _draw_picture(settings: EncodeSettings, path: Path, index: int) -> None:
    """One frame as a PNG; the frames before it are shown to an engine, so that the changed tiles are right."""
    gaze = settings.make_gaze()
    with _opened(settings) as video, settings.make_engine(video.size, settings.make_layout()) as engine:
        for frame in islice(video, index + 1):
            tiles = engine.submit(frame).tiles
        look = gaze.at(frame.pts)
        note = "" if frame.pts is None else f"{frame.pts:.2f} s"
        batch = engine.tokens(look[None], copy=False)
        fixations = look * frame.size
        sheet = draw_sheet(frame.pixels, batch, tiles, fixations=fixations, mean=MEAN, std=STD, note=note)
    try:
        write_png(path, sheet)
    except OSError as error:
        raise StoreError(f"cannot write picture {path}: {error.strerror}; choose another folder with --out") from error


def _typical(ms: list[float]) -> float:
    """The median, without the first frame where there are others."""
    return float(np.median(ms[1:] or ms))


def _claim(folder: Path) -> None:
    """Make the folder, and clear the token folder of an earlier demo out of the way.

    Raises:
        StoreError: the folder cannot be written, or tokens/ holds something that no demo made.
    """
    tokens = folder / "tokens"
    try:
        tokens.mkdir(parents=True, exist_ok=True)
        if (tokens / MARK).exists():
            for path in [*tokens.glob("tokens-*.safetensors"), tokens / META_NAME]:
                path.unlink(missing_ok=True)
        elif (tokens / META_NAME).exists():
            raise StoreError(f"{tokens} holds tokens that no demo made; choose another folder with --out")
        (tokens / MARK).touch()
    except OSError as error:
        raise StoreError(f"cannot write to folder {folder}: {error.strerror}; choose another with --out") from error
