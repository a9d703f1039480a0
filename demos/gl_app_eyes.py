"""Eye buffers of gl_app.py: one picture, two side by side, or two layers of an array; and where the eyes look."""

import math
from dataclasses import dataclass

import moderngl
import numpy as np
from gl_app_scene import Scene

from texvlm.gaze import FovProjector, GazeSample

TEXTURE_2D, TEXTURE_2D_ARRAY = 0x0DE1, 0x8C1A
DEVELOP = (
    "#version 450 core\nvoid main() { gl_Position = vec4(ivec2(gl_VertexID % 2, gl_VertexID / 2) * 4 - 1, 0.0, 1.0); }",
    """#version 450 core
layout(triangles) in;
layout(triangle_strip, max_vertices = 3) out;
uniform int layer;  // of an array; a plain texture has one
void main() {
    for (int i = 0; i < 3; i++) { gl_Position = gl_in[i].gl_Position; gl_Layer = layer; EmitVertex(); }
}""",
    """#version 450 core
uniform sampler2D drawn;
uniform ivec2 corner;
out vec4 colour;
void main() {
    vec3 light = texelFetch(drawn, ivec2(gl_FragCoord.xy) - corner, 0).rgb;
    colour = vec4(pow(light / (1.0 + 0.25 * light), vec3(1.0 / 1.4)), 1.0);
}""",
)


@dataclass(frozen=True)
class EyeView:
    """One eye: what it sees, from where (metres), and which part of the eye buffer is its picture."""

    name: str
    fov: FovProjector
    x: float = 0.0
    corner: tuple[int, int] = (0, 0)
    layer: int = 0

    def matrix(self) -> np.ndarray:
        """View and projection."""
        left, right, up, down = (math.tan(a) for a in (self.fov.left, self.fov.right, self.fov.up, self.fov.down))
        near, far = 0.1, 20.0
        projection = np.zeros((4, 4))
        projection[0, ::2] = 2 / (right - left), (right + left) / (right - left)
        projection[1, 1:3] = 2 / (up - down), (up + down) / (up - down)
        projection[2, 2:] = -(far + near) / (far - near), -2 * far * near / (far - near)
        projection[3, 2] = -1
        view = np.eye(4)
        view[0, 3] = -self.x
        return projection @ view


def eyes_of(kind: str, size: tuple[int, int]) -> list[EyeView]:
    """The eyes of an arrangement, whose pictures have this size each."""
    if kind == "mono":
        return [EyeView("both", FovProjector.symmetric(1.1, aspect=size[0] / size[1]))]
    half = math.atan(0.58 * size[1] / size[0])
    inner, outer = 0.45, 0.6  # each eye sees further to its own side
    right = {"side-by-side": {"corner": (size[0], 0)}, "layers": {"layer": 1}}[kind]
    return [
        EyeView("left", FovProjector(-outer, inner, half, -half), -0.032),
        EyeView("right", FovProjector(-inner, outer, half, -half), 0.032, **right),
    ]


class EyeBuffers:
    """The framebuffer texture that the app shows, with its own context current."""

    def __init__(self, context: moderngl.Context, kind: str, eyes: list[EyeView], size: tuple[int, int]) -> None:
        self.context, self.size = context, size
        self.target = TEXTURE_2D_ARRAY if kind == "layers" else TEXTURE_2D
        if kind == "layers":
            self.texture = context.texture_array((*size, len(eyes)), 4)
        else:
            self.texture = context.texture((size[0] * len(eyes), size[1]), 4)
        self.shown = context.framebuffer([self.texture])
        self.light = context.texture(size, 4, dtype="f2")
        self.drawing = context.framebuffer([self.light], context.depth_renderbuffer(size))
        vertex, geometry, fragment = DEVELOP
        self.program = context.program(vertex, fragment, geometry_shader=geometry)
        self.triangle = context.vertex_array(self.program, [])

    def draw(self, scene: Scene, eye: EyeView, seconds: float) -> None:
        """The scene as this eye sees it: as light, then developed into the eye's part of the texture."""
        self.drawing.use()
        scene.draw(eye.matrix(), (eye.x, 0.0, 0.0), seconds)
        self.shown.use()
        self.context.enable_only(moderngl.NOTHING)
        self.context.viewport = (*eye.corner, *self.size)
        self.light.use(0)
        self.program["corner"] = eye.corner
        if "layer" in self.program:
            self.program["layer"] = eye.layer
        self.triangle.render(vertices=3)


def gaze_at(eye: EyeView, time_ns: int) -> GazeSample:
    """What an eye tracker would say: both eyes read the notice, then look at the crates; they blink now and then."""
    seconds = time_ns / 1e9
    reading = (-1.35 + 0.25 * (seconds % 1.6), 0.85 - 0.12 * (seconds // 1.6 % 3), -4.35)
    x, y, z = reading if seconds % 6 < 4.5 else (1.0, -0.5, -2.7)
    return GazeSample(time_ns, (x - eye.x, y, z), clock="app", eye=eye.name, valid=seconds % 3 < 2.85)
