"""What xr_app.py draws into an eye's picture: the hall of gl_app.py, and over it where the tokens are."""

import math

import moderngl
import numpy as np
from gl_app_eyes import DEVELOP
from gl_app_scene import Scene

from texvlm import TokenBatch
from texvlm.gaze import FovProjector, Pose
from texvlm.xr import EyeBuffer

NEAR, FAR = 0.1, 20.0
SQUARE_VERTEX = """#version 450 core
uniform vec2 size;      // of the picture, texels
in vec3 in_square;      // centre from the top-left, side; texels
out vec2 across;
flat out float side;
void main() {
    across = vec2(gl_VertexID % 2, gl_VertexID / 2);
    side = in_square.z;
    vec2 place = (in_square.xy + (across - 0.5) * side) / size;
    gl_Position = vec4(2.0 * place.x - 1.0, 1.0 - 2.0 * place.y, 0.0, 1.0);
}"""
SQUARE_FRAGMENT = """#version 450 core
uniform float patch_side;
in vec2 across;
flat in float side;
out vec4 colour;
void main() {
    vec2 edge = min(across, 1.0 - across) * side;
    if (min(edge.x, edge.y) > 1.0) discard;  // an outline, one texel wide
    float coarse = clamp(log2(max(side / patch_side, 1.0)) / 4.0, 0.0, 1.0);
    colour = vec4(mix(vec3(1.0, 0.86, 0.25), vec3(0.2, 0.45, 1.0), coarse), mix(0.9, 0.5, coarse));
}"""


def view_projection(fov: FovProjector, pose: Pose) -> np.ndarray:
    """From the room to the picture of an eye, (4, 4)."""
    left, right, up, down = (math.tan(angle) for angle in (fov.left, fov.right, fov.up, fov.down))
    projection = np.zeros((4, 4))
    projection[0, ::2] = 2 / (right - left), (right + left) / (right - left)
    projection[1, 1:3] = 2 / (up - down), (up + down) / (up - down)
    projection[2, 2:] = -(FAR + NEAR) / (FAR - NEAR), -2 * FAR * NEAR / (FAR - NEAR)
    projection[3, 2] = -1
    x, y, z, w = pose.orientation
    turn = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    view = np.eye(4)
    view[:3, :3] = turn.T
    view[:3, 3] = -turn.T @ pose.position
    return projection @ view


class Drawing:
    """Draws eyes' pictures of one size, on the context that is current."""

    def __init__(self, context: moderngl.Context, size: tuple[int, int]) -> None:
        self.context, self.scene = context, Scene(context)
        self.light = context.texture(size, 4, dtype="f2")
        self.drawing = context.framebuffer([self.light], context.depth_renderbuffer(size))
        vertex, geometry, fragment = DEVELOP
        self.develop = context.program(vertex, fragment, geometry_shader=geometry)
        self.triangle = context.vertex_array(self.develop, [])
        self.outline = context.program(SQUARE_VERTEX, SQUARE_FRAGMENT)
        self.squares = context.buffer(reserve=12 * 4096, dynamic=True)
        self.square = context.vertex_array(self.outline, [(self.squares, "3f /i", "in_square")])
        self.framebuffers: dict[int, moderngl.Framebuffer] = {}

    def into(self, eye: EyeBuffer) -> moderngl.Framebuffer:
        """The eye's framebuffer, made the one that is drawn into."""
        if eye.framebuffer not in self.framebuffers:
            self.framebuffers[eye.framebuffer] = self.context.detect_framebuffer(eye.framebuffer)
            _ = self.context.error  # moderngl asks such a framebuffer for what only a window has
        found = self.framebuffers[eye.framebuffer]
        found.use()
        self.context.viewport = eye.viewport
        return found

    def draw(self, eye: EyeBuffer, seconds: float) -> None:
        """The hall as the eye sees it."""
        self.drawing.use()
        self.context.viewport = (0, 0, *eye.size)
        self.scene.draw(view_projection(eye.fov, eye.pose), eye.pose.position, seconds)
        self.into(eye)
        self.context.enable_only(moderngl.NOTHING)
        self.light.use(0)
        self.develop["corner"] = eye.corner
        self.triangle.render(vertices=3)

    def overlay(self, eye: EyeBuffer, batch: TokenBatch, view: int) -> None:
        """Outlines of the eye's tokens, over what was drawn: yellow where fine, blue where coarse."""
        squares = np.column_stack([batch.centres[view], batch.sides[view]]).astype(np.float32)
        self.squares.write(squares.tobytes())
        self.into(eye)
        self.context.enable_only(moderngl.BLEND)
        self.outline["size"], self.outline["patch_side"] = eye.size, batch.patch
        self.square.render(moderngl.TRIANGLE_STRIP, vertices=4, instances=len(squares))

    def picture(self, eye: EyeBuffer) -> np.ndarray:
        """What is in the eye's picture, (height, width, 3), rows from the top; a copy to the host."""
        data = self.into(eye).read(eye.viewport, components=3, alignment=1)
        return np.frombuffer(data, np.uint8).reshape(eye.size[1], eye.size[0], 3)[::-1]
