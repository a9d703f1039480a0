"""The gate through which frames enter: what stays on its device, and who is made to wait for whom.

No device is needed: a reader that says it owns host tensors stands for a backend, and fakes record
what producers are asked.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from texvlm import device_frames
from texvlm.device_frames import DeviceFrame, DeviceReader, take_frame
from texvlm.frames import Frame
from texvlm.yuv import YuvFrame, nv12

STREAM = 0x5150


@pytest.fixture
def waits() -> list[int]:
    """Streams that the reader was made to wait for."""
    return []


@pytest.fixture
def reader(waits: list[int]) -> DeviceReader:
    return DeviceReader(torch.device("cpu"), STREAM, lambda _: True, waits.append)


@pytest.fixture
def stranger(waits: list[int]) -> DeviceReader:
    """A backend on another device than all tensors here."""
    return DeviceReader(torch.device("cpu"), STREAM, lambda _: False, waits.append)


def pixels_of(shape: tuple[int, ...] = (4, 6, 3), dtype: torch.dtype = torch.uint8) -> torch.Tensor:
    return torch.arange(torch.Size(shape).numel()).reshape(shape).to(dtype)


def read(frame: DeviceFrame) -> np.ndarray:
    """The picture as a kernel sees it: the memory itself, whatever else the tensor is."""
    pixels = frame.pixels
    numpy_dtype = {torch.uint8: np.uint8, torch.float16: np.float16, torch.float32: np.float32}[pixels.dtype]
    size = 1 + sum((n - 1) * step for n, step in zip(pixels.shape, pixels.stride(), strict=True))
    raw = (ctypes.c_uint8 * (size * pixels.element_size())).from_address(pixels.data_ptr())
    flat = np.frombuffer(raw, numpy_dtype)
    rows = np.lib.stride_tricks.as_strided(flat, pixels.shape, [step * flat.itemsize for step in pixels.stride()])
    return rows if frame.origin == "top-left" else rows[::-1]


# ---------------------------------------------------------------- torch tensors


def test_a_tensor_that_the_backend_owns_stays_where_it_is(reader, waits):
    pixels = pixels_of()
    frame = take_frame(pixels, reader=reader, pts=2.5)
    assert isinstance(frame, DeviceFrame)
    assert frame.pixels.data_ptr() == pixels.data_ptr()
    assert (frame.size, frame.channels, frame.element, frame.pts) == ((6, 4), 3, "uint8", 2.5)
    assert waits == []
    np.testing.assert_array_equal(read(frame), pixels.numpy())


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float32], ids=str)
@pytest.mark.parametrize("origin", ["top-left", "bottom-left"])
@pytest.mark.parametrize("kind", ["packed", "channels first", "padded rows", "every second texel", "gray", "one value"])
def test_no_layout_is_copied(reader, dtype, origin, kind):
    given, channels_first = {
        "packed": (pixels_of((4, 6, 3), dtype), False),
        "channels first": (pixels_of((3, 4, 6), dtype), True),
        "padded rows": (pixels_of((4, 9, 3), dtype)[:, :6], False),
        "every second texel": (pixels_of((8, 12, 4), dtype)[::2, ::2], False),
        "gray": (pixels_of((4, 6), dtype), False),
        "one value": (pixels_of((1, 1, 1), dtype).expand(4, 6, 3), False),
    }[kind]
    frame = take_frame(given, reader=reader, channels_first=channels_first, origin=origin)
    assert isinstance(frame, DeviceFrame)
    assert frame.pixels.data_ptr() == given.data_ptr()
    assert frame.element == ("uint8" if dtype == torch.uint8 else "float32")
    host = take_frame(given, channels_first=channels_first, origin=origin)
    assert isinstance(host, Frame)
    np.testing.assert_array_equal(read(frame), host.pixels)
    np.testing.assert_array_equal(frame.to_frame().pixels, host.pixels)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64], ids=str)
def test_other_floats_are_converted_where_they_lie(reader, dtype):
    frame = take_frame(torch.full((4, 6, 3), 0.5, dtype=dtype), reader=reader)
    assert isinstance(frame, DeviceFrame)
    assert frame.pixels.dtype == torch.float32
    assert (frame.pixels == 0.5).all()


def test_tensors_that_are_more_than_their_memory_are_read_by_value(reader):
    grown = take_frame(torch.full((4, 6, 3), 0.5).requires_grad_(), reader=reader)
    negated = take_frame(torch.complex(torch.zeros(4, 6, 3), torch.full((4, 6, 3), -0.5)).conj().imag, reader=reader)
    for frame in (grown, negated):
        assert isinstance(frame, DeviceFrame)
        assert not frame.pixels.requires_grad
        assert (read(frame) == 0.5).all()


def test_tensors_of_another_device_come_through_the_host(stranger):
    frame = take_frame(pixels_of(), reader=stranger, pts=1.0)
    assert isinstance(frame, Frame)
    assert frame.pts == 1.0
    np.testing.assert_array_equal(frame.pixels, pixels_of().numpy())


@pytest.mark.parametrize("given", [np.zeros((4, 6, 3), np.uint8), Frame(np.zeros((4, 6, 3), np.uint8))])
def test_host_frames_stay_on_the_host(reader, given):
    frame = take_frame(given, reader=reader)
    assert isinstance(frame, Frame)
    assert np.shares_memory(frame.pixels, given.pixels if isinstance(given, Frame) else given)


@pytest.mark.parametrize(
    ("given", "options", "error", "says"),
    [
        (pixels_of(dtype=torch.int32), {}, TypeError, r"frame of torch.int32: accepted are uint8 \(0..255\), float16"),
        (torch.zeros(4, 6, 3).to_sparse(), {}, TypeError, "accepted are dense tensors that hold values"),
        (torch.zeros(4, 6, 3, device="meta"), {}, TypeError, "accepted are dense tensors that hold values"),
        (pixels_of((3, 4, 6)), {}, ValueError, "looks channel-first; pass channels_first=True"),
        (pixels_of((5, 6, 2)), {}, ValueError, r"frame of shape \(5, 6, 2\): accepted are"),
        (pixels_of((2, 4, 6, 3)), {}, ValueError, r"frame of shape \(2, 4, 6, 3\): accepted are"),
        (torch.zeros(0, 6, 3), {}, ValueError, "has no pixels"),
        (pixels_of(), {"origin": "left"}, ValueError, "origin is 'left'; accepted"),
        (DeviceFrame(pixels_of()), {"origin": "bottom-left"}, ValueError, "a DeviceFrame says itself how it lies"),
        ([[1]], {}, TypeError, "frame of type list"),
    ],
)
def test_what_is_no_frame_is_refused(reader, given, options, error, says):
    with pytest.raises(error, match=says):
        take_frame(given, reader=reader, **options)


# ---------------------------------------------------------------- ready-made frames


def test_a_device_frame_is_taken_as_it_is_but_for_a_missing_time(reader, stranger):
    frame = DeviceFrame(pixels_of(), kind="I", origin="bottom-left")
    assert take_frame(frame, reader=reader) is frame
    timed = take_frame(frame, reader=reader, pts=1.5)
    assert isinstance(timed, DeviceFrame)
    assert (timed.pts, timed.kind, timed.origin) == (1.5, "I", "bottom-left")
    for elsewhere in (None, stranger):
        host = take_frame(timed, reader=elsewhere, pts=9.0)
        assert isinstance(host, Frame)
        assert (host.pts, host.kind) == (1.5, "I")
        np.testing.assert_array_equal(host.pixels, pixels_of().numpy()[::-1])


def test_yuv_frames_are_converted_only_for_those_who_cannot(reader, stranger):
    planes = np.full((6, 4), 100, np.uint8)
    host = nv12(planes, matrix="bt709", range="full", kind="P")
    device = nv12(torch.from_numpy(planes), matrix="bt709", range="full")
    assert take_frame(host, reader=reader) is host
    assert take_frame(host, reader=stranger) is host  # planes on the host are half the bytes of RGB
    assert take_frame(device, reader=reader) is device
    timed = take_frame(host, reader=reader, pts=3.0)
    assert isinstance(timed, YuvFrame)
    assert timed.pts == 3.0
    for frame in (host, device):
        rgb = take_frame(frame, pts=4.0)
        assert isinstance(rgb, Frame)
        assert (rgb.pts, rgb.kind) == (4.0, frame.kind)
        np.testing.assert_array_equal(rgb.pixels, host.to_frame().pixels)


# ---------------------------------------------------------------- DLPack


class Exporter:
    """An array of another library, said to lie on a GPU; remembers how it was asked for its memory."""

    def __init__(self, tensor: torch.Tensor, place: tuple[int, int] = (2, 0)) -> None:
        self.tensor, self.place = tensor, place
        self.asked: list[dict[str, Any]] = []

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.place

    def __dlpack__(self, **options: Any) -> Any:
        self.asked.append(options)
        return self.tensor.__dlpack__()


@pytest.mark.parametrize(("handle", "told"), [(STREAM, STREAM), (0, 1)])
def test_a_dlpack_producer_is_told_the_reading_stream(handle, told, waits):
    reader = DeviceReader(torch.device("cpu"), handle, lambda _: True, waits.append)
    exporter = Exporter(pixels_of())
    frame = take_frame(exporter, reader=reader, pts=1.0)
    assert isinstance(frame, DeviceFrame)
    assert frame.pixels.data_ptr() == exporter.tensor.data_ptr()
    assert exporter.asked == [{"stream": told}]
    assert waits == []  # the producer has ordered its work before that stream


def test_dlpack_memory_of_the_host_is_a_host_frame(reader):
    exporter = Exporter(pixels_of(), place=(1, 0))
    assert isinstance(take_frame(exporter, reader=reader), Frame)
    assert "stream" not in exporter.asked[0]


def test_dlpack_memory_that_the_backend_cannot_read_comes_through_the_host(stranger):
    exporter = Exporter(pixels_of())
    frame = take_frame(exporter, reader=stranger, channels_first=False)
    assert isinstance(frame, Frame)
    np.testing.assert_array_equal(frame.pixels, exporter.tensor.numpy())


# ---------------------------------------------------------------- the CUDA array interface


class Interface:
    """An array known by its address alone."""

    def __init__(self, array: np.ndarray, *, readonly: bool = False, **entries: Any) -> None:
        self.array = array
        self.__cuda_array_interface__ = {
            "shape": array.shape,
            "typestr": array.dtype.str,
            "data": (array.ctypes.data, readonly),
            "version": 3,
            **entries,
        }


@pytest.fixture
def adopted(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What torch was handed; it is told that the memory is the host's, which is all that it would look up."""
    lent: list[Any] = []

    def adopt(given: Any, device: torch.device) -> torch.Tensor:
        lent.append(given)
        interface = given.__cuda_array_interface__
        assert interface["data"][1] is False
        assert "stream" not in interface
        host: Callable[[Any], Any] = type("Host", (), {"__array_interface__": interface})
        return torch.from_numpy(np.array(host(), copy=False))

    monkeypatch.setattr(device_frames, "adopt_interface", adopt)
    return lent


@pytest.mark.parametrize(
    ("entries", "waited"),
    [
        ({"stream": 0x77}, [0x77]),
        ({"stream": 1}, [1]),
        ({"stream": 2}, [2]),
        ({"stream": None}, []),
        ({"stream": STREAM}, []),
        ({"version": 2}, []),
    ],
)
def test_the_reader_waits_for_the_stream_of_the_producer(reader, waits, adopted, entries, waited):
    given = Interface(pixels_of().numpy(), **entries)
    frame = take_frame(given, reader=reader)
    assert isinstance(frame, DeviceFrame)
    assert frame.pixels.data_ptr() == given.array.ctypes.data
    assert waits == waited
    np.testing.assert_array_equal(read(frame), given.array)


def test_the_legacy_stream_does_not_wait_for_itself(adopted, waits):
    reader = DeviceReader(torch.device("cpu"), 0, lambda _: True, waits.append)
    take_frame(Interface(pixels_of().numpy(), stream=1), reader=reader)
    assert waits == []


def test_stream_zero_is_refused(reader, adopted, waits):
    with pytest.raises(ValueError, match="names stream 0, which may be either default stream; accepted: None, 1"):
        take_frame(Interface(pixels_of().numpy(), stream=0), reader=reader)
    assert (waits, adopted) == ([], [])


def test_memory_marked_as_read_only_is_read(reader, adopted):
    given = Interface(pixels_of().numpy(), readonly=True)
    np.testing.assert_array_equal(read(take_frame(given, reader=reader)), given.array)
    assert adopted[0]._owner is given
