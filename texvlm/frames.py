"""Frames: host pixels with their time, whatever they came from.

`as_frame` makes one of NumPy arrays, torch tensors on any device, and anything with `__dlpack__`.
Nothing is guessed: channel order and origin are stated. Pixels that need not come to the host are
the business of texvlm.device_frames.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Origin = Literal["top-left", "bottom-left"]


@dataclass(frozen=True, slots=True)
class MotionVectors:
    """Motion vectors that the codec stored with one frame; a seed for flow, never a change detector.

    Attributes:
        block: (x, y, width, height) of each block in this frame, texels, float32, shape (n, 4);
            x and y are the block's centre.
        motion: (dx, dy) from here to the matching block of the reference, texels, float32, (n, 2).
        source: which reference: negative for past, positive for future frames, int32, (n,).
    """

    block: NDArray[np.float32]
    motion: NDArray[np.float32]
    source: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture in host memory.

    Attributes:
        pixels: (height, width, channels), C-contiguous, uint8 or float32.
        pts: presentation time in seconds, or None when unknown.
        kind: "I", "P", "B" or another picture type that the codec names; None when unknown.
        motion: the codec's vectors when they were asked for and present.
    """

    pixels: NDArray[Any]
    pts: float | None = None
    kind: str | None = None
    motion: MotionVectors | None = None

    def __post_init__(self) -> None:
        pixels = self.pixels
        if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4):
            raise ValueError(
                f"frame of shape {pixels.shape}: accepted are (height, width, channels) with 1, 3 or 4 channels"
            )
        if 0 in pixels.shape:
            raise ValueError(f"frame of shape {pixels.shape} has no pixels")
        if pixels.dtype not in (np.uint8, np.float32):
            raise TypeError(f"frame of {pixels.dtype}: accepted are uint8 (0..255) and float32 (0..1); convert it")
        if not pixels.flags.c_contiguous:
            raise ValueError("frame pixels must be C-contiguous; use texvlm.as_frame to convert")

    @property
    def size(self) -> tuple[int, int]:
        """(width, height), texels."""
        return self.pixels.shape[1], self.pixels.shape[0]

    @property
    def channels(self) -> int:
        """1 (gray), 3 (RGB) or 4 (RGBA)."""
        return int(self.pixels.shape[2])

    @property
    def element(self) -> Literal["uint8", "float32"]:
        """Element type of the texels that hold it."""
        return "uint8" if self.pixels.dtype == np.uint8 else "float32"


def as_frame(
    data: object,
    *,
    channels_first: bool = False,
    origin: Origin = "top-left",
    pts: float | None = None,
) -> Frame:
    """A Frame from any array-like; no copy when it is already C-contiguous uint8 or float32 on the host.

    Args:
        data: a Frame (returned as it is, but for a missing time), or an array of shape (h, w), (h, w, c),
            or (c, h, w) with `channels_first`; uint8, or any float. Floats are values in 0..1.
        channels_first: the first axis counts channels, as torch images have it.
        origin: where row 0 lies; "bottom-left" for pictures read from OpenGL.
        pts: presentation time, seconds, where `data` does not carry one.
    Raises:
        TypeError: not an array, or an element type that is not accepted.
        ValueError: a shape that is not accepted, or a Frame with an option that says otherwise than it does.
    """
    if isinstance(data, Frame):
        if channels_first or origin != "top-left":
            raise ValueError(
                "a Frame is (height, width, channels) from the top-left; channels_first and origin are for arrays"
            )
        return replace(data, pts=pts) if data.pts is None and pts is not None else data
    pixels = _host_array(data)
    if pixels.dtype.kind == "f" and pixels.dtype != np.float32:  # another width, or another byte order
        pixels = pixels.astype(np.float32)
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    elif pixels.ndim == 3 and channels_first:
        pixels = pixels.transpose(1, 2, 0)
    elif pixels.ndim == 3 and pixels.shape[2] not in (1, 3, 4) and pixels.shape[0] in (1, 3, 4):
        raise ValueError(f"frame of shape {pixels.shape} looks channel-first; pass channels_first=True")
    check_origin(origin)
    if origin == "bottom-left":
        pixels = pixels[::-1]
    return Frame(np.ascontiguousarray(pixels), pts=pts)


def check_origin(origin: str) -> None:
    """ValueError unless it is one of `Origin`."""
    if origin not in get_args(Origin):
        raise ValueError(f"origin is {origin!r}; accepted: 'top-left', 'bottom-left'")


def _host_array(data: object) -> NDArray[Any]:
    """The data as a NumPy array on the host; device tensors are copied, host ones are not."""
    if isinstance(data, np.ndarray):
        return data
    if hasattr(data, "__dlpack__"):
        import torch  # only here: frames stay importable without loading torch
        from torch.utils.dlpack import from_dlpack

        # a tensor that requires gradients cannot be exported, but its values can be looked at
        tensor = data.detach() if isinstance(data, torch.Tensor) else _imported(from_dlpack, data)
        if tensor.dtype == torch.bfloat16:  # unknown to NumPy
            tensor = tensor.float()
        try:
            return np.asarray(tensor.numpy(force=True))
        except (TypeError, RuntimeError) as error:
            raise TypeError(
                f"frame of {tensor.dtype}, {tensor.layout}, on {tensor.device}: accepted are dense tensors of uint8 "
                "or floats that hold values"
            ) from error
    if hasattr(data, "__array__") or hasattr(data, "__array_interface__"):
        return np.asarray(data)
    if hasattr(data, "__cuda_array_interface__"):
        raise TypeError(
            f"frame of type {type(data).__name__} in memory of a GPU: the cuda backend reads it there; for another "
            "one, copy it to the host"
        )
    raise TypeError(
        f"frame of type {type(data).__name__}: accepted are NumPy arrays, torch tensors and objects with __dlpack__"
    )


def _imported(from_dlpack: Callable[[Any], Any], data: Any) -> Any:
    """Somebody else's array as a tensor; TypeError where this torch cannot take it, for example from a GPU."""
    try:
        return from_dlpack(data)
    except (RuntimeError, AssertionError, BufferError, ValueError) as refusal:
        kind, number = data.__dlpack_device__()
        raise TypeError(
            f"frame of type {type(data).__name__} on DLPack device ({int(kind)}, {int(number)}) cannot be read: "
            f"{str(refusal).splitlines()[0]}; copy it to the host"
        ) from refusal
