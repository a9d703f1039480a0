"""Count first: bytes and operations of a call, and the time that they predict.

The model is deliberately plain. Every array that a step reads or writes counts once, whatever cache
it lies in; the time is those bytes over the bandwidth of a plain copy on the same machine, plus the
fixed cost of a call, measured on a frame of a single tile. What a measurement takes beyond that is
what is left to explain.
"""

from __future__ import annotations

from dataclasses import dataclass

from texvlm.backends.base import Counters
from texvlm.bench.integral import FIELD
from texvlm.bench.report import Prediction
from texvlm.pyramid import column_texels
from texvlm.regions import TILE

FLOAT = 4


@dataclass(frozen=True, slots=True)
class Rates:
    """What this machine does: bytes moved each second by a copy, and milliseconds of one empty call."""

    bytes_per_s: float
    call_ms: float = 0.0

    def predict(self, bytes_moved: float, operations: float, *, calls: int = 1) -> Prediction:
        """Milliseconds for so many bytes."""
        ms = bytes_moved / self.bytes_per_s * 1e3 + calls * self.call_ms
        return Prediction(bytes_moved=round(bytes_moved), operations=round(operations), ms=round(ms, 4))


def texvlm_cost(
    work: Counters, calls: int, frame_bytes: int, *, tokens: int, patch: int, item: int, rates: Rates
) -> Prediction:
    """One call's share of the work that texvlm's counters tell.

    Detection reads the frame and what is stored; a dirty tile is read from the frame and written,
    then read for its mips, which are written; a sampled token reads as many texels as it has pixels
    (it is aligned) and writes them; every token is copied out.

    Args:
        work: counters of all calls together.
        calls: how many there were.
        frame_bytes: of all frames that one call submits.
        tokens: tokens handed out by one call.
        patch: output pixels along one token side.
        item: bytes of one output value.
        rates: this machine's.
    """
    tile = TILE * TILE * 3
    dirty, sampled = work.tiles_dirty / calls, work.tokens_sampled / calls
    pixels = patch * patch * 3
    moved = 2.0 * frame_bytes if work.tiles_compared else 0.0
    moved += dirty * (3 * tile + column_texels() * 3)
    moved += sampled * pixels * (1 + item) + 2 * tokens * pixels * item
    operations = (frame_bytes if work.tiles_compared else 0) + dirty * 2 * tile + sampled * pixels * 2
    return rates.predict(moved, operations)


def dense_cost(frame_bytes: int, side: int, rates: Rates) -> Prediction:
    """Resize, split into planes, to float, scale, shift, cut into patches: each reads and writes everything."""
    values = 3 * side * side
    moved = frame_bytes + values + 2 * values + values * (1 + FLOAT) + 3 * values * 2 * FLOAT
    return rates.predict(moved, values * (8 + 3))


def pyramid_cost(frame_bytes: int, levels: int, tokens: int, patch: int, rates: Rates) -> Prediction:
    """Split, to float, each level read and the next written, four texels a pixel read and two arrays written."""
    moved = 2.0 * frame_bytes + frame_bytes * (1 + FLOAT)
    operations = 0.0
    for level in range(levels):
        moved += frame_bytes * FLOAT * 1.25 / 4**level
        operations += frame_bytes / 4**level
    pixels = tokens * patch * patch * 3
    return rates.predict(moved + pixels * FLOAT * 7, operations + pixels * 8)


def integral_cost(tokens: int, patch: int, rates: Rates) -> Prediction:
    """Crop, split, two passes of sums in int32, four gathers of int32, three sums and a division."""
    values = 3 * FIELD * FIELD
    pixels = tokens * patch * patch * 3
    moved = 2 * values + 2 * values + values * (1 + FLOAT) + values * 2 * FLOAT + pixels * FLOAT * (8 + 9 + 2)
    return rates.predict(moved, 2 * values + pixels * 4)
