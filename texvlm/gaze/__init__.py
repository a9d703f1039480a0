"""Gaze from eye trackers: samples on a tracker's clock in, one fixation for each source out.

    GazeSample -> clock -> Projector -> GazeFilter -> fixation (u, v) at the time of display
                 (refused without an offset)     (smooth, hold in a blink, predict)

`GazeInput` does it, for a screen with one source or a headset with one source for each eye:

    gaze = GazeInput([GazeView(FovProjector(*left_fov), "left"), GazeView(FovProjector(*right_fov), "right")])
    gaze.put(sample)  # on the tracker's thread
    batch = engine.tokens(gaze.fixations(display_time_ns))  # one view a source

Directions have x right, y up and -z forward, as OpenXR's VIEW space; points (u, v) span the picture from its top-left
corner, whatever OpenGL calls its first row. Times are whole nanoseconds of a named clock.

Gaze is personal. Nothing here stores or sends it, but `GazeRecorder` and `write_gaze`, into the file that they are
given, which only its owner may read. What to look at without a tracker, and recorded gaze as the command line takes
it, is the business of texvlm.fixation.
"""

from __future__ import annotations

from texvlm.gaze.clocks import MONOTONIC, measure_offset_ns, to_clock
from texvlm.gaze.input import GazeInput, GazeView
from texvlm.gaze.poses import UPRIGHT, Pose
from texvlm.gaze.projectors import FovProjector, PinholeProjector, Projector, project
from texvlm.gaze.recording import GazeRecorder, read_gaze, write_gaze
from texvlm.gaze.replay import GazeReplay
from texvlm.gaze.sample import Eye, GazeSample, cyclopean

__all__ = [
    "MONOTONIC",
    "UPRIGHT",
    "Eye",
    "FovProjector",
    "GazeInput",
    "GazeRecorder",
    "GazeReplay",
    "GazeSample",
    "GazeView",
    "PinholeProjector",
    "Pose",
    "Projector",
    "cyclopean",
    "measure_offset_ns",
    "project",
    "read_gaze",
    "to_clock",
    "write_gaze",
]
