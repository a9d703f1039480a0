"""4:2:0 frames as decoders make them: NV12 and P010, and their one conversion to RGB.

A backend that can takes the planes as they are and converts each texel where it is compared with
what is stored; every other one gets `YuvFrame.to_frame`. Both do the same integer arithmetic with
the same `ColourCoefficients`, so they give the same bits. Chroma is taken from the nearest sample:
the 2 x 2 texels of a block share one, which needs no neighbour and so no texel of another tile.

Matrix and range are never guessed here: only who decoded the picture knows them.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from texvlm.frames import Frame, MotionVectors

Matrix = Literal["bt601", "bt709", "bt2020"]
"""Which weights of red, green and blue make luma. "bt2020" is the non-constant luminance form."""

Range = Literal["limited", "full"]
"""Codes of black and white: 16..235 (chroma 16..240), or all of 0..255; four times that in 10 bits."""

Bits = Literal[8, 10]

_LUMA_WEIGHTS: dict[str, tuple[float, float]] = {
    "bt601": (0.299, 0.114),
    "bt709": (0.2126, 0.0722),
    "bt2020": (0.2627, 0.0593),
}
"""(Kr, Kb) of each matrix: ITU-R BT.601-7, BT.709-6 and BT.2020-2."""

FRACTION_BITS = 16
"""Of a coefficient, in units of an 8-bit code: errors stay below 0.01 of a code, and sums below 2**28."""


@dataclass(frozen=True, slots=True)
class ColourCoefficients:
    """Integers that turn (Y, U, V) codes into 8-bit RGB; every backend uses these, in 32-bit arithmetic.

        luma = gain * (Y - offset) + half,   u = U - mid,   v = V - mid
        R = clamp((luma + rv * v) >> shift)
        G = clamp((luma + gu * u + gv * v) >> shift)
        B = clamp((luma + bu * u) >> shift)

    `>>` rounds towards minus infinity, clamp is to 0..255. A 10-bit code is the sample's value of
    0..1023; its larger `shift` brings it down to 8 bits with one rounding.

    Attributes:
        gain: of luma.
        offset: luma code of black.
        rv: red from V.
        gu: green from U, negative.
        gv: green from V, negative.
        bu: blue from U.
        mid: chroma code of grey.
        half: what makes the shift round to nearest.
        shift: fractional bits of the sums, 16 or (10-bit codes) 18.
    """

    gain: int
    offset: int
    rv: int
    gu: int
    gv: int
    bu: int
    mid: int
    half: int
    shift: int

    @classmethod
    def of(cls, matrix: Matrix, range: Range, *, bits: Bits = 8) -> ColourCoefficients:
        """The coefficients of one kind of picture; ValueError for a kind that is not accepted."""
        _check_kind(matrix, range, bits)
        red, blue = _LUMA_WEIGHTS[matrix]
        green = 1 - red - blue
        limited, scale = range == "limited", 1 << (bits - 8)
        # 8-bit steps of output for one code of input; full range spans 2**bits - 1 codes, limited
        # range is 219 (luma) and 224 (chroma) times the scale in any depth
        luma_step = 255 / (219 * scale if limited else (1 << bits) - 1)
        chroma_step = 255 / (224 * scale if limited else (1 << bits) - 1)
        shift = FRACTION_BITS + bits - 8  # a code is worth `scale` times less, so it gets as many bits more
        from_v, from_u = 2 * (1 - red), 2 * (1 - blue)
        return cls(
            gain=round(luma_step * 2**shift),
            offset=16 * scale if limited else 0,
            rv=round(chroma_step * from_v * 2**shift),
            gu=-round(chroma_step * from_u * blue / green * 2**shift),
            gv=-round(chroma_step * from_v * red / green * 2**shift),
            bu=round(chroma_step * from_u * 2**shift),
            mid=128 * scale,
            half=1 << (shift - 1),
            shift=shift,
        )


class _Plane(Protocol):
    """What a NumPy array and a torch tensor have in common."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> Any: ...


@dataclass(frozen=True, slots=True, eq=False)
class YuvFrame:
    """One 4:2:0 picture with interleaved chroma: NV12 (8 bits) or P010 (10 bits).

    The planes are NumPy arrays, or torch tensors on one device; of any strides. See `nv12`, `p010`.

    Attributes:
        y: luma, (height, width); uint8, or uint16 that holds its 10 bits in the upper ones.
        uv: chroma (U, V), (ceil(height / 2), ceil(width / 2), 2), same element type.
        matrix: "bt601", "bt709" or "bt2020".
        range: "limited" or "full".
        bits: 8 or 10.
        pts: presentation time in seconds, or None when unknown.
        kind: picture type, as of a Frame.
        motion: the codec's vectors, as of a Frame.

    Raises:
        ValueError, TypeError: planes that do not belong together, or a kind that is not accepted.
    """

    y: Any
    uv: Any
    matrix: Matrix
    range: Range
    bits: Bits = 8
    pts: float | None = None
    kind: str | None = None
    motion: MotionVectors | None = None

    def __post_init__(self) -> None:
        _check_kind(self.matrix, self.range, self.bits)
        y, uv = _plane("y", self.y), _plane("uv", self.uv)
        if _is_tensor(y) != _is_tensor(uv) or _device_of(y) != _device_of(uv):
            raise TypeError(f"y is {_place_of(y)} and uv {_place_of(uv)}; both must be in one place")
        accepted = "uint8" if self.bits == 8 else "uint16"
        for name, plane in (("y", y), ("uv", uv)):
            if _dtype_name(plane) != accepted:
                raise TypeError(f"{name} is {_dtype_name(plane)}; a picture of {self.bits} bits has {accepted} planes")
        if len(y.shape) != 2 or 0 in y.shape:
            raise ValueError(f"y of shape {tuple(y.shape)}: accepted is (height, width), with at least one texel")
        wanted = (-(-y.shape[0] // 2), -(-y.shape[1] // 2), 2)
        if tuple(uv.shape) != wanted:
            raise ValueError(f"uv of shape {tuple(uv.shape)}: luma of {tuple(y.shape)} has chroma of shape {wanted}")

    @property
    def size(self) -> tuple[int, int]:
        """(width, height), texels."""
        return int(self.y.shape[1]), int(self.y.shape[0])

    @property
    def channels(self) -> int:
        """3: what it becomes."""
        return 3

    @property
    def element(self) -> Literal["uint8", "float32"]:
        """Element type of the texels that hold it: what it becomes has 8 bits."""
        return "uint8"

    @property
    def on_host(self) -> bool:
        """Whether the planes lie in host memory."""
        return bool(_device_of(self.y) == "cpu")

    @property
    def coefficients(self) -> ColourCoefficients:
        """How its codes become RGB."""
        return ColourCoefficients.of(self.matrix, self.range, bits=self.bits)

    def to_frame(self) -> Frame:
        """The picture as an RGB uint8 Frame in host memory; planes on a device are copied and waited for."""
        from texvlm._yuv_kernel import convert  # only here: Numba is loaded when a picture is converted

        c = self.coefficients
        width, height = self.size
        drop = 6 if self.bits == 10 else 0  # P010 keeps its 10 bits in the upper ones of 16
        base = c.half - c.gain * c.offset
        numbers = np.array([c.gain, c.rv, c.gu, c.gv, c.bu, c.mid, c.shift, base, drop], np.int32)
        pixels = np.empty((height, width, 3), np.uint8)
        convert(_host_rows(self.y), _host_rows(self.uv), numbers, pixels.reshape(height, -1))
        return Frame(pixels, pts=self.pts, kind=self.kind, motion=self.motion)


def nv12(
    y: object,
    uv: object | None = None,
    *,
    matrix: Matrix,
    range: Range,
    size: tuple[int, int] | None = None,
    pts: float | None = None,
    kind: str | None = None,
    motion: MotionVectors | None = None,
) -> YuvFrame:
    """An 8-bit picture from its two planes, or from the one buffer that holds both. Nothing is copied.

    Args:
        y: luma, (height, width); without `uv` one buffer, (3 / 2 * rows, pitch), whose last third is chroma.
        uv: chroma, (ceil(height / 2), ceil(width / 2), 2), or the same with rows of pairs, 2-D.
        matrix: "bt601", "bt709" or "bt2020".
        range: "limited" or "full".
        size: (width, height) of the picture where memory has longer rows or more of them; None for all.
        pts: presentation time, seconds.
        kind: picture type.
        motion: the codec's vectors.
    Raises:
        ValueError, TypeError: see YuvFrame; or a buffer that cannot hold luma and chroma.
    """
    y, uv = _planes(y, uv, size)
    return YuvFrame(y, uv, matrix, range, 8, pts, kind, motion)


def p010(
    y: object,
    uv: object | None = None,
    *,
    matrix: Matrix,
    range: Range,
    size: tuple[int, int] | None = None,
    pts: float | None = None,
    kind: str | None = None,
    motion: MotionVectors | None = None,
) -> YuvFrame:
    """A 10-bit picture, uint16 planes with the value in the upper 10 bits; otherwise as `nv12`."""
    y, uv = _planes(y, uv, size)
    return YuvFrame(y, uv, matrix, range, 10, pts, kind, motion)


def _planes(y: Any, uv: Any, size: tuple[int, int] | None) -> tuple[Any, Any]:
    """Views of the picture's own texels: luma (h, w), chroma (ceil(h / 2), ceil(w / 2), 2)."""
    y = _plane("y", y)
    if len(y.shape) != 2:
        raise ValueError(f"y of shape {tuple(y.shape)}: accepted is (height, width), or one buffer of both planes")
    if uv is None:
        rows = int(y.shape[0])
        if rows % 3 == 1 or rows < 2:
            raise ValueError(f"a buffer of {rows} rows: luma and chroma of one picture have 2, 3, 5, 6, ... (3 / 2)")
        y, uv = y[: rows * 2 // 3], y[rows * 2 // 3 :]
    uv = _plane("uv", uv)
    width, height = (int(y.shape[1]), int(y.shape[0])) if size is None else size
    columns, lines = -(-width // 2), -(-height // 2)
    if len(uv.shape) == 2:
        if uv.shape[1] < 2 * columns:
            raise ValueError(f"chroma rows of {uv.shape[1]} elements: {width} texels need {2 * columns}; give size=")
        uv = uv[:, : 2 * columns]
        uv = uv.reshape(uv.shape[0], columns, 2)  # of one axis into two: a view, whatever the strides
    if size is not None:
        if not (0 < width <= y.shape[1] and 0 < height <= y.shape[0] and lines <= uv.shape[0]):
            raise ValueError(f"size is {size}; the planes hold {(int(y.shape[1]), int(y.shape[0]))} at most")
        y, uv = y[:height, :width], uv[:lines, :columns]
    return y, uv


def _check_kind(matrix: str, range: str, bits: int) -> None:
    for name, value, accepted in (
        ("matrix", matrix, get_args(Matrix)),
        ("range", range, get_args(Range)),
        ("bits", bits, get_args(Bits)),
    ):
        if value not in accepted:
            raise ValueError(f"{name} is {value!r}; accepted: {', '.join(map(repr, accepted))}")


def _plane(name: str, data: Any) -> _Plane:
    if isinstance(data, np.ndarray) or _is_tensor(data):
        return data  # type: ignore[no-any-return]
    raise TypeError(f"{name} is {type(data).__name__}; accepted: NumPy arrays and torch tensors")


def _is_tensor(data: object) -> bool:
    """Whether it is a torch tensor, found out without loading torch for it."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(data, torch.Tensor)


def _device_of(plane: Any) -> str:
    return str(plane.device) if _is_tensor(plane) else "cpu"


def _place_of(plane: Any) -> str:
    return f"a torch tensor on {plane.device}" if _is_tensor(plane) else "a NumPy array"


def _dtype_name(plane: _Plane) -> str:
    return str(plane.dtype).removeprefix("torch.")


def _host_rows(plane: Any) -> NDArray[Any]:
    """A plane on the host, (rows, elements), without gaps; marked read-only, so that one kernel serves all."""
    array = plane.numpy(force=True) if _is_tensor(plane) else plane
    rows = np.ascontiguousarray(array).reshape(array.shape[0], -1).view()
    rows.flags.writeable = False
    return rows
