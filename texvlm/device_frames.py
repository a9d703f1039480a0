"""Frames that lie on a device, and the gate through which every frame enters an engine.

`take_frame` leaves pixels where they are if the backend can read them there, and otherwise goes
through `texvlm.frames.as_frame`, which brings them to the host. Who wrote the pixels may still be
writing them, on a stream of its own; nothing here waits for that on the host:

| data | ordered by |
|---|---|
| torch tensor | torch's rule: it is ready on the current stream, the one that reads it |
| `__dlpack__` | the producer, which is told the reading stream |
| `__cuda_array_interface__` | the reading stream, which is made to wait for the one that the producer names |

An array's owner is kept for as long as the frame is; memory may be written again once what was
queued on the reading stream is done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch.utils.dlpack import from_dlpack

from texvlm.frames import Frame, MotionVectors, Origin, as_frame, check_origin
from texvlm.yuv import YuvFrame

ELEMENTS = (torch.uint8, torch.float16, torch.float32)
"""Element types that kernels read. Other floats are converted where they lie."""

_DLPACK_CUDA = 2
"""kDLCUDA, the device type of memory on a GPU."""

_LEGACY_STREAM = 1
"""How DLPack and the CUDA array interface name the legacy default stream, whose handle is 0."""


@dataclass(frozen=True, slots=True, eq=False)
class DeviceFrame:
    """One picture in device memory, ready on the stream that will read it.

    Attributes:
        pixels: (height, width, channels), of any strides; uint8, float16 or float32. Floats are 0..1.
        pts: presentation time in seconds, or None when unknown.
        kind: picture type, as of a Frame.
        motion: the codec's vectors, as of a Frame.
        lent: another library owns the memory, and may use it again as soon as nobody holds on to the
            tensor: a backend does until it has read the frame.
        origin: where row 0 of `pixels` lies; kernels read either.

    Raises:
        ValueError, TypeError: a shape, element type or kind of tensor that is not accepted.
    """

    pixels: torch.Tensor
    pts: float | None = None
    kind: str | None = None
    motion: MotionVectors | None = None
    origin: Origin = "top-left"
    lent: bool = False

    def __post_init__(self) -> None:
        pixels = self.pixels
        if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4):
            raise ValueError(
                f"frame of shape {tuple(pixels.shape)}: accepted are (height, width, channels) with 1, 3 or 4 channels"
            )
        if 0 in pixels.shape:
            raise ValueError(f"frame of shape {tuple(pixels.shape)} has no pixels")
        if pixels.dtype not in ELEMENTS:
            raise TypeError(f"frame of {pixels.dtype}: accepted are uint8 (0..255), float16 and float32 (0..1)")
        if pixels.layout != torch.strided or pixels.is_meta or pixels.is_neg():
            raise TypeError(f"frame of {pixels.layout} on {pixels.device}: accepted are dense tensors that hold values")
        check_origin(self.origin)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height), texels."""
        return int(self.pixels.shape[1]), int(self.pixels.shape[0])

    @property
    def channels(self) -> int:
        """1 (gray), 3 (RGB) or 4 (RGBA)."""
        return int(self.pixels.shape[2])

    @property
    def element(self) -> Literal["uint8", "float32"]:
        """Element type of the texels that hold it."""
        return "uint8" if self.pixels.dtype == torch.uint8 else "float32"

    def to_frame(self) -> Frame:
        """The picture in host memory; waits for the device."""
        frame = as_frame(self.pixels, origin=self.origin, pts=self.pts)
        return replace(frame, kind=self.kind, motion=self.motion)


@dataclass(frozen=True, slots=True)
class DeviceReader:
    """What a backend that reads device memory says about how it does.

    Attributes:
        device: its device.
        stream: handle of the stream on which the frame will be read: torch's current one.
        owns: whether kernels can read a tensor where it lies.
        wait_for: makes `stream` wait for what has been queued on another stream, given by its handle;
            returns at once. 1 and 2 are CUDA's own handles of the legacy and the per-thread default stream.
    """

    device: torch.device
    stream: int
    owns: Callable[[torch.Tensor], bool]
    wait_for: Callable[[int], None]


def take_frame(
    data: object,
    *,
    reader: DeviceReader | None = None,
    channels_first: bool = False,
    origin: Origin = "top-left",
    pts: float | None = None,
) -> Frame | DeviceFrame | YuvFrame:
    """The frame that a backend will read, from anything that holds one.

    Args:
        data: a Frame, DeviceFrame or YuvFrame (returned as it is if it can be read, but for a missing
            time); a torch tensor, or an object with `__dlpack__` or `__cuda_array_interface__`; or
            whatever `as_frame` takes. Shapes and element types as there.
        reader: how device memory is read; None for a backend that reads host memory only.
        channels_first: the first axis counts channels, as torch images have it.
        origin: where row 0 lies; "bottom-left" for pictures read from OpenGL.
        pts: presentation time, seconds, where `data` does not carry one.
    Returns:
        Without a reader always a Frame. With one a DeviceFrame for pixels it can read, a YuvFrame for
        planes that it can read or that lie on the host, and a Frame for everything else.
    Raises:
        TypeError: not an array, or an element type that is not accepted.
        ValueError: a shape that is not accepted, or a frame with an option that says otherwise than it does.
    """
    if isinstance(data, Frame):
        return as_frame(data, channels_first=channels_first, origin=origin, pts=pts)
    if isinstance(data, (DeviceFrame, YuvFrame)):
        if channels_first or origin != "top-left":
            raise ValueError(
                f"a {type(data).__name__} says itself how it lies; channels_first and origin are for arrays"
            )
        frame = replace(data, pts=pts) if data.pts is None and pts is not None else data
        return frame if reader is not None and _readable(frame, reader) else frame.to_frame()
    if reader is not None:
        tensor = _device_tensor(data, reader)
        if tensor is not None:
            if reader.owns(tensor):
                frame = _device_frame(tensor, channels_first=channels_first, origin=origin, pts=pts)
                return replace(frame, lent=not isinstance(data, torch.Tensor))
            data = tensor
    return as_frame(data, channels_first=channels_first, origin=origin, pts=pts)


def _readable(frame: DeviceFrame | YuvFrame, reader: DeviceReader) -> bool:
    """Whether the backend can take it as it is; planes on the host are smaller than their RGB to bring over."""
    if isinstance(frame, DeviceFrame):
        return reader.owns(frame.pixels)
    return frame.on_host or (reader.owns(frame.y) and reader.owns(frame.uv))


def _device_tensor(data: Any, reader: DeviceReader) -> torch.Tensor | None:
    """Device data as a tensor over the same memory, ready on the reader's stream; None for host data."""
    if isinstance(data, torch.Tensor):
        return data
    if hasattr(data, "__dlpack__"):
        place = data.__dlpack_device__()
        if (int(place[0]), int(place[1])) != (_DLPACK_CUDA, reader.device.index or 0):
            return None
        # the legacy stream's own handle, 0, is not accepted: it might mean either default stream
        return from_dlpack(data.__dlpack__(stream=reader.stream or _LEGACY_STREAM))
    if hasattr(data, "__cuda_array_interface__"):
        interface = dict(data.__cuda_array_interface__)
        stream = interface.pop("stream", None)
        if stream == 0:
            raise ValueError(
                "__cuda_array_interface__ names stream 0, which may be either default stream; "
                "accepted: None, 1 (legacy default), 2 (per-thread default) or a stream's handle"
            )
        if stream is not None and stream != (reader.stream or _LEGACY_STREAM):
            reader.wait_for(int(stream))
        return adopt_interface(_Lent(interface, data), reader.device)
    return None


class _Lent:
    """An array interface that torch takes: it refuses memory marked as read-only, though it is only read here."""

    __slots__ = ("__cuda_array_interface__", "_owner")

    def __init__(self, interface: dict[str, Any], owner: object) -> None:
        address, _ = interface["data"]
        self.__cuda_array_interface__ = interface | {"data": (address, False)}
        self._owner = owner


def adopt_interface(lent: Any, device: torch.device) -> torch.Tensor:
    """A tensor over the memory that `__cuda_array_interface__` describes; it keeps `lent` alive."""
    return torch.as_tensor(lent, device=device)


def _device_frame(tensor: torch.Tensor, *, channels_first: bool, origin: Origin, pts: float | None) -> DeviceFrame:
    """A DeviceFrame over a tensor; only element types that kernels do not read are converted."""
    pixels = tensor.detach()
    if pixels.layout == torch.strided and pixels.is_neg():
        pixels = pixels.resolve_neg()
    if pixels.is_floating_point() and pixels.dtype not in ELEMENTS:
        pixels = pixels.float()
    if pixels.ndim == 2:
        pixels = pixels.unsqueeze(2)
    elif pixels.ndim == 3 and channels_first:
        pixels = pixels.permute(1, 2, 0)
    elif pixels.ndim == 3 and pixels.shape[2] not in (1, 3, 4) and pixels.shape[0] in (1, 3, 4):
        raise ValueError(f"frame of shape {tuple(pixels.shape)} looks channel-first; pass channels_first=True")
    return DeviceFrame(pixels, pts=pts, origin=origin)
