"""Two windows of kept pictures compared, as vector code of whole rows.

What Numba makes of the same loops takes ten times as long or more: its integers grow to 64 bits at every
addition, so rows of bytes do not become vectors. These functions write the loop over rows out in LLVM's own
terms, vectors of WINDOW bytes, for whatever processor compiles it. Windows lie inside the arrays that they are
given: nothing is checked here.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from texvlm.backends.block_search import WINDOW

_BYTES, _SHORTS, _WORDS = (ir.VectorType(ir.IntType(bits), WINDOW) for bits in (8, 16, 32))


class _Rows:
    """Rows of a window: of `array` from element `start` on, `stride` apart."""

    def __init__(self, context: Any, builder: Any, kind: Any, array: Any, start: Any, stride: Any) -> None:
        self._builder, self._start, self._stride = builder, start, stride
        self._data = context.make_array(kind)(context, builder, array).data

    def bytes_at(self, x: int, y: int) -> Any:
        """WINDOW elements from (x, y) of the window on."""
        builder = self._builder
        offset = builder.add(self._start, builder.mul(self._stride, _constant(64, y)))
        address = builder.gep(self._data, [builder.add(offset, _constant(64, x))])
        loaded = builder.load(builder.bitcast(address, _BYTES.as_pointer()))
        loaded.align = 1
        return loaded

    def shorts_at(self, x: int, y: int) -> Any:
        """The same, with room to reckon."""
        return self._builder.zext(self.bytes_at(x, y), _SHORTS)


def _constant(bits: int, value: int) -> Any:
    return ir.Constant(ir.IntType(bits), value)


def _sum(builder: Any, words: Any) -> Any:
    """Sum of a vector of 32-bit integers."""
    kind = ir.FunctionType(ir.IntType(32), [_WORDS])
    add = cgutils.get_or_insert_function(builder.module, kind, f"llvm.vector.reduce.add.v{WINDOW}i32")
    return builder.call(add, [words])


@intrinsic  # type: ignore[untyped-decorator]
def sum_of_differences(_typing: Any, a: Any, i: Any, b: Any, j: Any, stride: Any) -> Any:
    """(a, i, b, j, stride) -> sum of absolute differences of the windows at a[i] and b[j], int32."""
    signature = types.int32(a, types.int64, b, types.int64, types.int64)

    def generate(context: Any, builder: Any, kind: Any, arguments: Any) -> Any:
        ours = _Rows(context, builder, kind.args[0], arguments[0], arguments[1], arguments[4])
        theirs = _Rows(context, builder, kind.args[2], arguments[2], arguments[3], arguments[4])
        total = ir.Constant(_SHORTS, [0] * WINDOW)  # of each column: at most 16 * 255
        for y in range(WINDOW):
            one, other = ours.bytes_at(0, y), theirs.bytes_at(0, y)
            less = builder.icmp_unsigned("<", one, other)
            difference = builder.sub(builder.select(less, other, one), builder.select(less, one, other))
            total = builder.add(total, builder.zext(difference, _SHORTS))
        return _sum(builder, builder.zext(total, _WORDS))

    return signature, generate


@intrinsic  # type: ignore[untyped-decorator]
def sums_of_gradients(_typing: Any, a: Any, i: Any, b: Any, j: Any, stride: Any) -> Any:
    """(a, i, b, j, stride) -> sums (xx, xy, yy, xt, yt) of block_search.RECORD, five int32.

    Gradients of a + b: central differences, smoothed 1 2 1 across. Differences a - b: smoothed 1 2 1 both ways.
    Sums stay below 2**31: a gradient is at most 4 * 2 * 255, a smoothed difference 16 * 255.
    """
    signature = types.UniTuple(types.int32, 5)(a, types.int64, b, types.int64, types.int64)

    def generate(context: Any, builder: Any, kind: Any, arguments: Any) -> Any:
        ours = _Rows(context, builder, kind.args[0], arguments[0], arguments[1], arguments[4])
        theirs = _Rows(context, builder, kind.args[2], arguments[2], arguments[3], arguments[4])
        one = ir.Constant(_SHORTS, [1] * WINDOW)

        def smooth(before: Any, here: Any, after: Any) -> Any:
            return builder.add(builder.add(before, after), builder.shl(here, one))

        # of each row: what its own texels give, (across smoothed sum, across slope of sum, smoothed difference)
        lines = []
        for y in range(-1, WINDOW + 1):
            mine = [ours.shorts_at(x, y) for x in (-1, 0, 1)]
            its = [theirs.shorts_at(x, y) for x in (-1, 0, 1)]
            both = [builder.add(u, v) for u, v in zip(mine, its, strict=True)]
            apart = [builder.sub(u, v) for u, v in zip(mine, its, strict=True)]
            lines.append((smooth(*both), builder.sub(both[2], both[0]), smooth(*apart)))
        sums: list[Any] = [ir.Constant(_WORDS, [0] * WINDOW)] * 5
        for above, here, below in zip(lines, lines[1:], lines[2:], strict=False):
            x = builder.sext(smooth(above[1], here[1], below[1]), _WORDS)
            y = builder.sext(builder.sub(below[0], above[0]), _WORDS)
            t = builder.sext(smooth(above[2], here[2], below[2]), _WORDS)
            for index, (u, v) in enumerate(((x, x), (x, y), (y, y), (x, t), (y, t))):
                sums[index] = builder.add(sums[index], builder.mul(u, v))
        return context.make_tuple(builder, kind.return_type, [_sum(builder, total) for total in sums])

    return signature, generate
