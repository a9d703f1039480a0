"""What decides the tokens of a clip: everything that a resume must find unchanged."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, JsonValue, model_validator

from texvlm.encoders import Encoder
from texvlm.encoders.merging import MergingEncoder
from texvlm.engine import Engine
from texvlm.engine_options import DEFAULT_THRESHOLD
from texvlm.files import fingerprint
from texvlm.fixation import (
    FixationPath,
    Fixed,
    Follow,
    GazeTrack,
    LookPolicy,
    MovingFixation,
    parse_look,
)
from texvlm.layouts import make_layout
from texvlm.layouts.base import Focus, Layout, to_texels
from texvlm.sources import Source, open_source
from texvlm.store.meta import Contents

Point = tuple[FiniteFloat, FiniteFloat]

DEFAULT_PATCH = 16


class FeatureSettings(BaseModel):
    """What a model makes of the tokens.

    Attributes:
        model: its folder, see texvlm.encoders.load.
        keep_tokens: the tokens are kept beside the features.
        positions: how its position table is read off the grid.
        readout_deg: also answer for what lies within so many degrees of each fixation; None for the whole
            frame only.
        batch: frames that go through it together.
        dtype: element type of stored features.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    keep_tokens: bool = False
    positions: Literal["bilinear", "area"] = "bilinear"
    readout_deg: float | None = Field(default=None, gt=0, lt=90)
    batch: int = Field(default=8, ge=1)
    dtype: Literal["float16", "float32"] = "float16"


class EncodeSettings(BaseModel):
    """How to encode one input.

    Attributes:
        input: what `open_source` takes: a file, a folder, a camera, an address, a scene.
        layout: name of a layout; see texvlm.layouts.
        layout_options: further arguments of that layout.
        tokens: token budget; None for the layout's own count.
        patch: output pixels along one token side; None for the model's, or 16.
        fov_deg: field of view across the frame's longer side, degrees.
        e2_deg: eccentricity at which acuity has halved, degrees.
        fixations: one or more (u, v), the frame spanning 0..1, looked at in every frame.
        moving: look around along a smooth figure instead.
        gaze: a gaze csv to follow instead.
        gaze_offset_s: seconds added to the times of that file.
        look: a look policy that decides frame by frame instead, NAME[:OPTION=VALUE,...]; see
            texvlm.fixation.parse_look.
        backend: "auto", "cuda", "gl" or "cpu".
        threshold: largest difference that a tile may keep, a fraction of full scale; 0 is bit-exact.
        every: encode each N-th frame.
        frames: stop after so many encoded frames; None for all.
        channels: 1 (gray), 3 (RGB) or 4 (RGBA).
        dtype: element type of the tokens; "uint8" holds k/255 and takes no normalisation. None for uint8, or
            for float32 where only features are kept.
        mean: per-channel normalisation of float tokens, in units of full scale; goes with `std`. A model
            brings its own.
        std: of the same.
        store: "full", or "changes" to keep only the tokens that changed.
        shard_frames: frames in a shard; None for about 64 MB, 64 frames at most.
        features: what a model makes of the tokens; None for tokens alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: str
    layout: str = "quadtree"
    layout_options: dict[str, JsonValue] = Field(default_factory=dict)
    tokens: int | None = None
    patch: int | None = None
    fov_deg: float = 60.0
    e2_deg: float = 2.0
    fixations: tuple[Point, ...] = Field(default=((0.5, 0.5),), min_length=1)
    moving: bool = False
    gaze: str | None = None
    gaze_offset_s: FiniteFloat = 0.0
    look: str | None = None
    backend: str = "auto"
    threshold: float = Field(default=DEFAULT_THRESHOLD, ge=0, le=1)
    every: int = Field(default=1, ge=1)
    frames: int | None = Field(default=None, ge=1)
    channels: Literal[1, 3, 4] = 3
    dtype: Literal["uint8", "float16", "bfloat16", "float32"] | None = None
    mean: tuple[FiniteFloat, ...] | None = None
    std: tuple[FiniteFloat, ...] | None = None
    store: Literal["full", "changes"] = "full"
    shard_frames: int | None = Field(default=None, ge=1)
    features: FeatureSettings | None = None

    @model_validator(mode="after")
    def _one_way_to_look(self) -> Self:
        if self.gaze is not None and self.moving:
            raise ValueError("gaze and moving are two ways to look; give one of them")
        if self.look is not None and (self.moving or self.gaze is not None):
            raise ValueError(f"look and {'gaze' if self.gaze else 'moving'} are two ways to look; give one of them")
        return self

    @model_validator(mode="after")
    def _statistics_for_each_channel(self) -> Self:
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values is not None and len(values) != self.channels:
                raise ValueError(f"{name} has {len(values)} values for {self.channels} channels; give one a channel")
        return self

    @model_validator(mode="after")
    def _normalised_by_the_model(self) -> Self:
        if self.features is not None and (self.mean is not None or self.std is not None):
            raise ValueError("mean and std are the model's own where one is given; leave them out")
        return self

    @model_validator(mode="after")
    def _changes_of_tokens(self) -> Self:
        if self.store == "changes" and self.contents == "features":
            raise ValueError("store 'changes' is about tokens, and only features are kept; leave it out, or keep both")
        return self

    @property
    def contents(self) -> Contents:
        """What the folder keeps of each frame."""
        return "tokens" if self.features is None else "both" if self.features.keep_tokens else "features"

    def resolved(self, encoder: Encoder | None = None) -> Self:
        """These settings with nothing left to others: patch, dtype and normalisation are what will be used.

        Args:
            encoder: that of `features`; tokens are made as it takes them, in whole squares where it merges.
        Raises:
            ValueError: tokens of another patch or channel count than it takes; names both.
        """
        patch = self.patch if encoder is None or self.patch is not None else encoder.patch
        dtype = self.dtype or ("float32" if self.contents == "features" else "uint8")
        update: dict[str, Any] = {"patch": DEFAULT_PATCH if patch is None else patch, "dtype": dtype}
        if encoder is not None:
            if patch != encoder.patch:
                raise ValueError(
                    f"patch is {patch}, but {encoder.name} takes tokens of {encoder.patch} x {encoder.patch}; leave "
                    "patch out, or use another model"
                )
            if self.channels != len(encoder.mean):
                raise ValueError(
                    f"channels is {self.channels}, but {encoder.name} takes {len(encoder.mean)}; give as many, or "
                    "use another model"
                )
            if isinstance(encoder, MergingEncoder):
                update["layout_options"] = {"block": encoder.merge, **self.layout_options}
            if dtype != "uint8":  # tokens of uint8 are normalised by the encoder
                update |= {"mean": encoder.mean, "std": encoder.std}
        return self.model_copy(update=update)

    def make_layout(self) -> Layout:
        """The layout; ValueError or TypeError when it cannot be had."""
        options: dict[str, Any] = dict(self.layout_options)
        for name in ("tokens", "patch", "fov_deg", "e2_deg"):
            if name in options:
                raise ValueError(f"layout option {name!r} is a setting of its own; give {name} there")
        return make_layout(
            self.layout,
            tokens=self.tokens,
            patch=DEFAULT_PATCH if self.patch is None else self.patch,
            fov_deg=self.fov_deg,
            e2_deg=self.e2_deg,
            **options,
        )

    def open_source(self) -> Source:
        """The opened input; SourceError or ValueError as in texvlm.sources."""
        # A scene is as long as one asks; every other input ends by itself.
        scene = self.input.split(":")[0] == "scene" and not Path(self.input).exists()
        frames = self.frames * self.every if scene and self.frames is not None else None
        return open_source(self.input, channels=self.channels, every=self.every, frames=frames)

    def make_engine(self, size: tuple[int, int], layout: Layout) -> Engine:
        """The engine for a source whose first frame has this (width, height)."""
        return Engine(
            size,
            layout=layout,
            backend=self.backend,
            threshold=self.threshold,
            channels=self.channels,
            pixel_dtype="uint8",
            dtype=getattr(torch, self.dtype or "uint8"),
            mean=self.mean,
            std=self.std,
        )

    def make_gaze(self) -> Gaze:
        """Where to look; SourceError when the gaze file cannot be read."""
        if self.gaze is not None:
            return Gaze(GazeTrack.read(self.gaze, offset=self.gaze_offset_s))
        return Gaze(MovingFixation() if self.moving else None, self.fixations)

    def make_policy(self) -> LookPolicy:
        """A new policy that looks where these settings say; errors as `NamedLook.make` and `make_gaze` have them."""
        if self.look is not None:
            return parse_look(self.look).make()
        path = self.make_gaze().path
        return Fixed(self.fixations) if path is None else Follow(path, "gaze" if self.gaze else "moving")

    @property
    def look_files(self) -> tuple[str, ...]:
        """Files that the look policy reads."""
        return () if self.look is None else parse_look(self.look).files

    def for_comparison(self, backend_name: str) -> dict[str, JsonValue]:
        """What meta.json keeps and a resume compares: the settings, the backend that "auto" chose, the files."""
        settings: dict[str, JsonValue] = self.model_dump(mode="json", exclude={"features"})
        if self.features is not None:  # the model itself is compared by what it is, and not by where it lies
            settings["batch"] = self.features.batch
        return settings | {
            "backend": backend_name,
            "input_file": fingerprint(self.input),
            "gaze_file": None if self.gaze is None else fingerprint(self.gaze),
            "look_files": [fingerprint(file) for file in self.look_files],
        }


class Gaze:
    """Where to look in each frame: fixed points, or a path over time."""

    def __init__(self, path: FixationPath | None, points: tuple[tuple[float, float], ...] = ()) -> None:
        self.path = path
        self._points = np.array(points, np.float64).reshape(-1, 2)

    def at(self, pts: float | None) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
        """(u, v) of each fixation of one frame, (k, 2); ValueError where a gaze track gets no time."""
        return self._points if self.path is None else np.array([self.path.at(pts)], np.float64)

    def focus(self, pts: float | None, size: tuple[int, int]) -> Focus:
        """The same in texels of a frame of (width, height)."""
        return Focus(to_texels(self.at(pts), size))
