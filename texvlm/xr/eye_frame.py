"""What one frame of a headset is: for each eye a picture to draw, and where that eye looks."""

from __future__ import annotations

from dataclasses import dataclass

from texvlm.gaze import Eye, FovProjector, GazeSample, Pose

XR_CLOCK = "openxr"
"""Name of the clock of XrTime: display times and gaze of a headset are on it."""


@dataclass(frozen=True, slots=True)
class EyeBuffer:
    """The picture of one eye, to be drawn until the next frame is asked for.

    Attributes:
        eye: "left" or "right".
        size: (width, height) of the picture, texels.
        texture: OpenGL's name of the texture that holds it; the runtime's.
        target: GL_TEXTURE_2D, or GL_TEXTURE_2D_ARRAY.
        layer: of an array texture.
        corner: texel (column, row) at which the picture starts, rows counted from the lowest, as OpenGL does.
        framebuffer: OpenGL's name of a framebuffer with that image as its colour, and no depth.
        fov: its field of view.
        pose: of the eye in the room (OpenXR's LOCAL space) when the frame is shown.
        in_head: of the eye in the head (VIEW space).
    """

    eye: Eye
    size: tuple[int, int]
    texture: int
    target: int
    layer: int
    corner: tuple[int, int]
    framebuffer: int
    fov: FovProjector
    pose: Pose
    in_head: Pose

    @property
    def viewport(self) -> tuple[int, int, int, int]:
        """(x, y, width, height) of the picture in the framebuffer, as glViewport takes it."""
        return (*self.corner, *self.size)


@dataclass(frozen=True, slots=True)
class HeadsetFrame:
    """One frame to be drawn.

    Attributes:
        number: of the frames handed out, from 0.
        display_time_ns: when it will be shown, on XR_CLOCK.
        period_ns: how long after it the next one will be.
        image: which of the swapchain's images is drawn, 0-based.
        eyes: left and right.
        gaze: a sample for each eye, as a point of its picture; none where nothing new was measured.
    """

    number: int
    display_time_ns: int
    period_ns: int
    image: int
    eyes: tuple[EyeBuffer, EyeBuffer]
    gaze: tuple[GazeSample, ...]
