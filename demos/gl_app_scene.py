"""What gl_app.py draws: a lit hall with turning crates and a notice in small print. Any renderer would do."""

import math

import moderngl
import numpy as np

from texvlm.glyphs import draw_text

VERTEX = """#version 450 core
uniform mat4 model, view_projection;
in vec3 in_position, in_normal;
in vec2 in_uv;
out vec3 place, normal;
out vec2 uv;
void main() {
    vec4 world = model * vec4(in_position, 1.0);
    place = world.xyz;
    vec3 stretched = vec3(dot(model[0], model[0]), dot(model[1], model[1]), dot(model[2], model[2]));
    normal = mat3(model) * (in_normal / stretched);
    uv = in_uv;
    gl_Position = view_projection * world;
}"""
FRAGMENT = """#version 450 core
uniform sampler2DArray pictures;
uniform float picture, repeats;
uniform vec3 lamp, eye;
in vec3 place, normal;
in vec2 uv;
out vec4 colour;
void main() {
    vec3 n = normalize(normal), to_lamp = lamp - place;
    vec3 l = normalize(to_lamp), half_way = normalize(l + normalize(eye - place));
    float light = 16.0 * max(dot(n, l), 0.0) / (1.0 + dot(to_lamp, to_lamp));
    float shine = 1.5 * pow(max(dot(n, half_way), 0.0), 60.0) * step(0.0, dot(n, l));
    colour = vec4(texture(pictures, vec3(uv * repeats, picture)).rgb * (0.16 + light) + shine * 0.12, 1.0);
}"""
SIDE = 512
NOTICE = ("GALLERY OF HOURS", "Open 09:30 to 17:45", "Line 7 stops at gate B12", "Keep left of the crates", "Thank you")
LAMP = (0.6, 1.5, -1.2)


def cube() -> np.ndarray:
    """36 corners of a cube of side 1: position, normal, and (u, v) from each face's top-left."""
    rows = []
    for axis in range(3):
        for sign in (-1, 1):
            normal = np.zeros(3)
            normal[axis] = sign
            up = np.array([0, 0, -sign] if axis == 1 else [0, 1, 0])
            right = np.cross(up, normal)
            for u, v in ((0, 0), (0, 1), (1, 1), (0, 0), (1, 1), (1, 0)):
                rows.append([*(normal / 2 + (u - 0.5) * right + (0.5 - v) * up), *normal, u, v])
    return np.array(rows, np.float32)


def paint() -> np.ndarray:
    """Pictures of the surfaces, (4, SIDE, SIDE, 4): tiles, plaster, the notice, a crate's label."""
    rng = np.random.default_rng(7)
    grain = rng.normal(0, 5, (4, SIDE, SIDE, 1))
    pictures = np.array([(120, 124, 130), (186, 170, 150), (242, 240, 230), (178, 128, 76)])[:, None, None] + grain
    pictures[0, ::128, :] = pictures[0, :, ::128] = 60
    pictures[1, ::64, :] -= 30
    for k, line in enumerate(NOTICE):
        draw_text(pictures[2], line, (24, 40 + 92 * k), scale=(5, 4, 3, 3, 2)[k], colour=(25, 30, 60))
    pictures[3, ::85, :] = 90
    draw_text(pictures[3], "FRAGILE", (70, 150), scale=9, colour=(160, 20, 20))
    draw_text(pictures[3], "this side up - 14 kg", (70, 300), scale=3, colour=(30, 20, 10))
    return np.concatenate([pictures.clip(0, 255), np.full((4, SIDE, SIDE, 1), 255)], axis=3).astype(np.uint8)


def placed(centre: tuple[float, float, float], size: tuple[float, float, float], turn: float = 0.0) -> np.ndarray:
    """Scaled, turned about the upright axis, moved; as OpenGL reads it."""
    c, s = math.cos(turn), math.sin(turn)
    matrix = np.array([[c, 0, s, centre[0]], [0, 1, 0, centre[1]], [-s, 0, c, centre[2]], [0, 0, 0, 1]])
    return np.ascontiguousarray((matrix @ np.diag([*size, 1])).T, np.float32)


class Scene:
    """The hall, on the context that is current."""

    def __init__(self, context: moderngl.Context) -> None:
        self.context = context
        self.program = context.program(VERTEX, FRAGMENT)
        pictures = paint()
        self.pictures = context.texture_array((SIDE, SIDE, len(pictures)), 4, pictures.tobytes())
        self.pictures.build_mipmaps()
        self.pictures.filter = moderngl.LINEAR_MIPMAP_LINEAR, moderngl.LINEAR
        self.corners = context.vertex_array(
            self.program, [(context.buffer(cube()), "3f 3f 2f", "in_position", "in_normal", "in_uv")]
        )

    def draw(self, view_projection: np.ndarray, eye: tuple[float, float, float], seconds: float) -> None:
        """Into the framebuffer in use, which it clears."""
        self.context.enable_only(moderngl.DEPTH_TEST | moderngl.CULL_FACE)
        self.context.clear(0.01, 0.012, 0.02)
        self.pictures.use(0)
        self.program["view_projection"].write(np.ascontiguousarray(view_projection.T, np.float32))
        self.program["eye"], self.program["lamp"] = eye, LAMP
        for model, picture, repeats in self.things(seconds):
            self.program["model"].write(model)
            self.program["picture"], self.program["repeats"] = picture, repeats
            self.corners.render()

    def things(self, seconds: float) -> list[tuple[np.ndarray, float, float]]:
        """(model, picture, how often it repeats) of what is there at a time."""
        sway = 0.25 * math.sin(1.3 * seconds)
        return [
            (placed((0, -1.1, -3), (8, 0.1, 8)), 0.0, 4.0),
            (placed((0, 1, -4.5), (8, 5, 0.1)), 1.0, 3.0),
            (placed((-0.75, 0.45, -4.4), (1.7, 1.3, 0.1)), 2.0, 1.0),
            (placed((1.0, -0.55, -3.2), (1.0, 1.0, 1.0), 0.5 * seconds), 3.0, 1.0),
            (placed((-1.3 + sway, -0.75, -2.6), (0.6, 0.6, 0.6), 0.3), 3.0, 1.0),
        ]
