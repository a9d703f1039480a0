"""The seam between engine and backend: a handful of verbs on texture arrays.

A backend moves and filters texels; it plans nothing. The engine (planning, thread rules, caches)
sits above and is shared by every backend; the slow float64 reference under tests/ defines what is
right, and one conformance suite runs against each backend.

Rules for an implementation:
  * bits of levels after `upload` + `build_mips` equal the reference for uint8 textures;
  * exactly the tiles of the mask are updated, so every backend holds the same texels;
  * the caller owns the output memory; rows that are not asked for are not touched;
  * frames, masks, layers and outputs that do not fit are a ValueError (`_checks`), never a stray write;
  * every verb adds what it did to `counters`;
  * after `close`, every verb raises ClosedError. `close` may be called twice.
The engine calls the verbs from one thread at a time, not always the same one; a backend whose
device belongs to a thread hands the work over itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Literal, Unpack

import numpy as np
import torch
from numpy.typing import NDArray

from texvlm.frames import Frame
from texvlm.layouts.table import Table
from texvlm.pyramid import TextureSpec
from texvlm.regions import TileMask, tile_grid

if TYPE_CHECKING:
    from texvlm.backends.attached import AttachedFrame, AttachedTexture, ImageChoice
    from texvlm.backends.block_search import BlockSpec
    from texvlm.backends.capture import CaptureRequest, FrameRecording
    from texvlm.backends.motion_memory import MotionMemory
    from texvlm.device_frames import DeviceFrame, DeviceReader
    from texvlm.layouts.base import Layout
    from texvlm.yuv import YuvFrame

    Picture = Frame | DeviceFrame | YuvFrame | AttachedFrame

Filtering = Literal["hardware", "exact"]
"""Who mixes texels: texture units, whose weights have 8 bits, or 32-bit arithmetic on fetched texels."""

TOKEN_DTYPES = (torch.uint8, torch.float16, torch.bfloat16, torch.float32)
"""Element types of token pixels. uint8 holds rounded k/255 values and takes no normalisation."""


@dataclass(slots=True)
class Counters:
    """Work done since the backend was opened. Partial and incremental claims are proved by these."""

    frames: int = 0  # frames submitted
    tiles_compared: int = 0
    tiles_dirty: int = 0  # tiles uploaded
    bytes_uploaded: int = 0  # packed bytes of level-0 texels written inside frames
    texels_rebuilt: int = 0  # texels of levels >= 1 written
    tokens_sampled: int = 0
    tokens_reused: int = 0  # tokens handed out again without sampling
    maps: int = 0  # times a graphics resource was mapped for compute
    reallocations: int = 0
    blocks_matched: int = 0  # windows that had changed, and were searched for where they came from

    def as_dict(self) -> dict[str, int]:
        """Plain mapping of the counts, for reports and JSON."""
        return asdict(self)

    def __sub__(self, earlier: Counters) -> Counters:
        """Work done since an earlier copy."""
        return Counters(**{k: v - getattr(earlier, k) for k, v in asdict(self).items()})


@dataclass(frozen=True, slots=True)
class Normalisation:
    """Per-channel (value - mean) / std on values scaled to 0..1 (uint8 texels are divided by 255).

    Raises:
        ValueError: not as many of one as of the other, a number that is not finite, or a std not above 0.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std):
            raise ValueError(f"mean and std have {len(self.mean)} and {len(self.std)} values; give one a channel")
        if not all(map(isfinite, self.mean)):
            raise ValueError(f"mean is {self.mean}; each must be a finite number")
        if not all(isfinite(value) and value > 0 for value in self.std):
            raise ValueError(f"std is {self.std}; each must be above 0, and finite")

    @classmethod
    def identity(cls, channels: int) -> Normalisation:
        """No change beyond the scaling to 0..1."""
        return cls((0.0,) * channels, (1.0,) * channels)


@dataclass(slots=True)
class Texture:
    """One mip-mapped texture array; `handle` is the backend's own.

    Attributes:
        spec: its shape.
        frame_sizes: (width, height) of the frame in each layer, int32, shape (layers, 2); (0, 0) for
            a layer that never got a frame. Kept by the engine; backends clamp sampling to it.
        clock: updates so far. Kept by the engine, like the next two, which say when what changed;
            a backend that finds changes on its device keeps its own account there instead.
        changed_at: clock of each layer's last update, int64, (layers,).
        versions: clock of each tile's last update, int64, (layers, rows, columns).
    """

    spec: TextureSpec
    handle: object
    frame_sizes: NDArray[np.int32] = field(init=False)
    clock: int = field(default=0, init=False)
    changed_at: NDArray[np.int64] = field(init=False)
    versions: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        columns, rows = tile_grid(self.spec.size)
        self.frame_sizes = np.zeros((self.spec.layers, 2), np.int32)
        self.changed_at = np.zeros(self.spec.layers, np.int64)
        self.versions = np.zeros((self.spec.layers, rows, columns), np.int64)  # pages come with the first stamp

    def stamp(self, layer: int, tiles: TileMask) -> None:
        """Note that these tiles of a layer have just been updated."""
        if tiles.any():
            self.clock += 1
            self.changed_at[layer] = self.clock
            np.copyto(self.versions[layer, : tiles.shape[0], : tiles.shape[1]], self.clock, where=tiles)


class PendingTiles(ABC):
    """The tiles that a device has been asked to update; which they are is known when it is done."""

    shape: tuple[int, int]
    """(rows, columns)."""

    @abstractmethod
    def mask(self) -> TileMask:
        """The tiles. Waits for the device."""


class TokenKeeper(ABC):
    """The tokens of one set of views, kept so that only those that changed are sampled again.

    Attributes:
        pixels: (rows, channels, patch, patch), in the backend's memory.
    """

    pixels: torch.Tensor

    @abstractmethod
    def refresh(
        self, texture: Texture, rows: Table | torch.Tensor, normalisation: Normalisation
    ) -> NDArray[np.bool_] | torch.Tensor:
        """Bring the pixels up to date with the texture and with where the tokens now lie.

        Args:
            texture: what to read; another one than last time makes every token new.
            rows: TOKEN_RECORD, (rows,), or its bits as an int32 tensor on the device, (rows, 6).
            normalisation: applied to float pixels.
        Returns:
            Rows whose texels or place changed since the last call, bool, (rows,): an array on the
            host or a tensor on the device. Never set for padding.
        """


class Backend(ABC):
    """Owns the textures of one device."""

    name: str
    device: torch.device = torch.device("cpu")
    """Where tokens appear, and where frames and fixations are read without a copy."""
    counters: Counters
    """Work so far: live, or, from a backend whose device counts, a copy, and reading it waits for the device."""

    @abstractmethod
    def create_texture(self, spec: TextureSpec) -> Texture:
        """A texture array with undefined content. MemoryError when the device has no room."""

    @abstractmethod
    def destroy_texture(self, texture: Texture) -> None:
        """Free its memory; the handle is dead afterwards."""

    @abstractmethod
    def detect(self, texture: Texture, layer: int, frame: Frame, threshold: float) -> TileMask:
        """Tiles in which any channel of any pixel differs from level 0 by more than `threshold`.

        `threshold` is in texel values: 0..255 for uint8, as stored for float32. A float that is NaN
        on either side counts as different.
        """

    @abstractmethod
    def upload(self, texture: Texture, layer: int, tiles: TileMask, frame: Frame) -> None:
        """Write the masked tiles of level 0; tiles at the right and bottom edge repeat edge pixels."""

    @abstractmethod
    def build_mips(self, texture: Texture, layer: int, tiles: TileMask) -> None:
        """Rebuild levels 1..4 of the masked tiles and the tail texels above them."""

    def refresh(
        self, texture: Texture, layer: int, frame: Picture, threshold: float | None
    ) -> TileMask | PendingTiles | None:
        """`detect`, `upload` and `build_mips` in one pass, with the same bits and counters.

        With a threshold, for a frame of the size that the layer holds; without one the whole frame is
        taken, whatever the layer held. Returns the tiles updated, or None from a backend that has no
        such pass; nothing has been done then.
        """
        return None

    def release_frames(self) -> None:
        """Return when no frame given so far is read from host memory any more."""
        return

    def count(
        self, *, frames: int = 0, reallocations: int = 0, tokens_reused: int = 0, blocks_matched: int = 0
    ) -> None:
        """Note work that was done, or became known, above this seam."""
        self.counters.frames += frames
        self.counters.reallocations += reallocations
        self.counters.tokens_reused += tokens_reused
        self.counters.blocks_matched += blocks_matched

    def reader(self) -> DeviceReader | None:
        """How frames on a device are read, now; None where `refresh` and its parts take a Frame only."""
        return None

    def owns(self, tensor: torch.Tensor) -> bool:
        """Whether kernels of this backend can read a tensor where it lies."""
        return False

    def attach(self, name: int, target: int, size: tuple[int, int], **image: Unpack[ImageChoice]) -> AttachedTexture:
        """One image of an OpenGL texture of the application, to be given to `refresh` as an AttachedFrame.

        The context that it belongs to must be current on the calling thread, now and for every frame.

        Args:
            name: OpenGL's name of the texture.
            target: GL_TEXTURE_2D (0x0DE1) or GL_TEXTURE_2D_ARRAY (0x8C1A).
            size: (width, height) of the picture; the image may be larger.
            layer: of an array texture.
            corner: the picture's lowest texel (column, row) in the image, as the texture counts them: (0, 0), or
                where one eye's half of a side-by-side picture starts.
            level: mip level; others than the base level need immutable storage.
            origin: "bottom-left" for what OpenGL drew, "top-left" for what was uploaded first row first.
            format: what the texture is expected to hold; None for whatever it does.
        Raises:
            ValueError, TypeError: it cannot be a source; says what was seen and what is accepted.
            BackendUnavailable, DeviceCallError: no context is current, or this device cannot use its textures.
        """
        raise TypeError(f"the {self.name} backend reads no OpenGL textures; open the gl or the cuda backend")

    def detach(self, texture: AttachedTexture) -> None:
        """Read a texture no more, and let the application delete it; what was taken from it stays."""
        raise TypeError(f"the {self.name} backend reads no OpenGL textures; open the gl or the cuda backend")

    def lent_to_gl(self, texture: Texture) -> AbstractContextManager[int]:
        """The scope in which a texture array that both share is OpenGL's, by the name that it gives.

        Raises:
            TypeError: OpenGL owns no arrays of this backend.
            ValueError: it owns them in another context than the application's.
        """
        raise TypeError(
            f"the {self.name} backend shares no arrays with OpenGL; open 'cuda-gl-resident', 'cuda-gl-epochs', or gl "
            "on the application's context"
        )

    def plan(
        self,
        layout: Layout,
        sizes: Sequence[tuple[int, int]],
        layers: Sequence[int],
        fixations: torch.Tensor,
        weights: NDArray[np.float64] | None,
    ) -> torch.Tensor:
        """Token tables from fixations that live on the device, without visiting the host.

        Args:
            layout: where tokens lie.
            sizes: (width, height) of each view's frame.
            layers: layer of each view.
            fixations: (u, v), (views, k, 2), a tensor that this backend owns.
            weights: importance of each fixation, (views, k); None for equal ones.
        Returns:
            The bits of TOKEN_RECORD, int32, (views, tokens, 6), on the device.
        Raises:
            TypeError: this backend or this layout plans on the host.
        """
        raise TypeError(f"the {self.name} backend plans on the host; give fixations as an array")

    def keep(self, texture: Texture, rows: int, patch: int, dtype: torch.dtype) -> TokenKeeper | None:
        """A keeper of tokens that decides on the device which of them changed; None where the host does."""
        return None

    def capture(self, request: CaptureRequest, frames: Sequence[Picture]) -> FrameRecording:
        """Frames in and tokens out as one launch that can be replayed; nothing runs yet.

        Args:
            request: what to capture.
            frames: on the device, one for each of `frame_layers`, of the size that the layer holds.
        Raises:
            TypeError: this backend has no graphs, or plans this layout on the host.
            ValueError: a frame that does not lie on the device.
        """
        raise TypeError(f"the {self.name} backend captures no frames; the cuda backend does")

    def replay(self, recording: FrameRecording, frames: Sequence[Picture], fixations: torch.Tensor | None) -> None:
        """Run it on other frames and fixations like those captured; none: on those given last.

        Raises:
            ValueError: they have another size, element type or kind; nothing runs.
        """
        raise TypeError(f"the {self.name} backend captures no frames")

    def release(self, recording: FrameRecording) -> None:
        """Free it."""
        raise TypeError(f"the {self.name} backend captures no frames")

    @abstractmethod
    def motion_memory(self, texture: Texture, spec: BlockSpec) -> MotionMemory:
        """Room to keep frames of a texture in, to find where blocks of the next ones were; see MotionMemory.

        Whoever asks closes it before the texture is destroyed.

        Raises:
            TypeError: the texture does not hold bytes.
            ValueError: its pyramid does not have the level asked for.
        """

    @abstractmethod
    def sample(
        self,
        texture: Texture,
        table: Table,
        out: torch.Tensor,
        normalisation: Normalisation,
        rows: NDArray[np.int32] | None = None,
    ) -> None:
        """Filter tokens into `out`, trilinearly, at the level of detail that `side` asks for.

        Args:
            texture: what to read; `frame_sizes` bounds each layer.
            table: TOKEN_RECORD, shape (n,). Rows of PADDING_LAYER give zeros.
            out: from `empty`, shape (n, channels, patch, patch), contiguous.
            normalisation: applied to float outputs; identity for uint8.
            rows: which rows of the table to write, int32, ascending; None for all.
        """

    @abstractmethod
    def read_level(self, texture: Texture, layer: int, level: int) -> NDArray[np.generic]:
        """A copy of a frame's own texels of one level, (height, width, channels); for tests and viewers."""

    @abstractmethod
    def empty(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        """Memory for `sample` to write, as a tensor on the device where the tokens appear."""

    def time_stages(self) -> None:
        """Time stages on the device from now on, which costs it two marks a stage. Nothing where there is none."""
        return

    @property
    def device_times_ms(self) -> dict[str, float]:
        """Milliseconds that the device spent in each timed stage so far; never waits. Empty where nothing is timed."""
        return {}

    @abstractmethod
    def describe(self) -> dict[str, object]:
        """Device, driver and options in words, for reports."""

    @abstractmethod
    def close(self) -> None:
        """Free everything."""
