"""Frames: the one gate through which pixels enter."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch

from texvlm import Frame, as_frame


def test_a_frame_is_taken_as_it_is_but_for_a_missing_time() -> None:
    frame = Frame(np.zeros((4, 6, 3), np.uint8), kind="I")
    assert as_frame(frame) is frame
    timed = as_frame(frame, pts=1.5)
    assert (timed.pts, timed.kind) == (1.5, "I")
    assert timed.pixels is frame.pixels
    assert as_frame(timed, pts=9.0).pts == 1.5


@pytest.mark.parametrize("option", [{"origin": "bottom-left"}, {"channels_first": True}])
def test_a_frame_says_itself_how_it_lies(option) -> None:
    with pytest.raises(ValueError, match=r"a Frame is .* from the top-left; channels_first and origin are for arrays"):
        as_frame(Frame(np.zeros((4, 6, 3), np.uint8)), **option)


@pytest.mark.parametrize(
    "given",
    [
        torch.full((4, 6, 3), 0.5, dtype=torch.bfloat16),
        torch.full((4, 6, 3), 0.5).expand(4, 6, 3).requires_grad_(),
        torch.complex(torch.zeros(4, 6, 3), torch.full((4, 6, 3), -0.5)).conj().imag,  # a view that negates
        np.full((4, 6, 3), 0.5, ">f4"),
        np.full((4, 6, 3), 0.5, np.longdouble),
    ],
    ids=["bfloat16", "gradients", "negated", "other byte order", "long double"],
)
def test_floats_of_any_kind_become_float32(given) -> None:
    pixels = as_frame(given).pixels
    assert pixels.dtype == np.float32
    assert pixels.dtype.isnative
    assert (pixels == 0.5).all()


@pytest.mark.parametrize(
    "given",
    [torch.zeros(4, 6).to_sparse(), torch.zeros(4, 6, device="meta"), torch.zeros(4, 6, dtype=torch.int32)],
    ids=["sparse", "meta", "int32"],
)
def test_tensors_that_hold_no_pixels_are_refused(given) -> None:
    with pytest.raises(TypeError, match=r"frame of .*int32: accepted are|frame of .*: accepted are dense tensors"):
        as_frame(given)


class _OnAnotherDevice:
    """What lies in memory of a GPU that this torch does not reach."""

    def __dlpack_device__(self) -> tuple[int, int]:
        return (2, 7)

    def __dlpack__(self, **_: object) -> object:
        raise BufferError("cannot be exported")


class _ByInterfaceOnly:
    __cuda_array_interface__: ClassVar = {
        "shape": (4, 6, 3),
        "typestr": "|u1",
        "data": (4096, False),
        "strides": None,
        "version": 3,
    }


def test_memory_that_cannot_be_read_here_is_refused_in_one_line() -> None:
    with pytest.raises(TypeError, match=r"type _OnAnotherDevice on DLPack device \(2, 7\) cannot be read: .+"):
        as_frame(_OnAnotherDevice())
    with pytest.raises(TypeError, match="type _ByInterfaceOnly in memory of a GPU: the cuda backend reads it"):
        as_frame(_ByInterfaceOnly())
