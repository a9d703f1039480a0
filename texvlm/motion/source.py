"""What measures motion, and what it is shown: the newest frame of one source, read where it is resident.

A motion source is one object for all videos. It keeps what it needs of each one's last frame, and
answers with the flow from the frame at hand back to that one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from texvlm.fixation.scene import Mips, Resident, scene_of
from texvlm.frames import Frame, MotionVectors
from texvlm.motion.field import MotionField


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """The newest frame of one source, as a motion source is asked about it.

    Attributes:
        source: which video.
        size: (width, height) of the frame, texels.
        mips: its resident levels, each read when it is first asked for.
        kind: picture type, "I", "P", "B"; None when unknown.
        vectors: the codec's vectors; None where there are none.
        engine: who holds the frame, for those who match on the device; None for pictures from elsewhere.
    """

    source: int
    size: tuple[int, int]
    mips: Mips
    kind: str | None = None
    vectors: MotionVectors | None = None
    engine: Resident | None = None


def moment_of(engine: Resident, source: int = 0, *, frame: Frame | None = None) -> Moment:
    """The frame of a source that an engine holds; good until the source's next frame.

    Args:
        engine: who holds it.
        source: which video.
        frame: as it was submitted, for what the codec said of it; None where nothing is known.
    Raises:
        ValueError: the source has no frame yet, or `frame` is of another size.
    """
    scene = scene_of(engine, source)
    if frame is None:
        return Moment(source, scene.size, scene.mips, engine=engine)
    if frame.size != scene.size:
        raise ValueError(
            f"a frame of {frame.size[0]} x {frame.size[1]} for source {source}, which holds {scene.size[0]} x "
            f"{scene.size[1]}; give the frame that was submitted"
        )
    return Moment(source, scene.size, scene.mips, frame.kind, frame.motion, engine)


@runtime_checkable
class MotionSource(Protocol):
    """Measures the motion of many videos, each of whose frames it sees in their order."""

    @property
    def name(self) -> str:
        """What it is called in options and reports."""

    def __call__(self, moment: Moment) -> MotionField | None:
        """Flow from this frame back to the one before it that this object saw of the source.

        None for the first frame of a source, and for one of another size than the frame before.
        """

    def reset(self, source: int | None = None) -> None:
        """Forget the last frame of one source, as after a cut; of all with None. Unknown ones are no error."""
