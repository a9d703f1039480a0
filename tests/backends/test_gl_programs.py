"""Shaders: the token record field by field, every variant compiles, errors say where."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from texvlm.backends import _gl_api, _gl_programs
from texvlm.backends._gl_attached import attached_definitions
from texvlm.backends._gl_frames import TAIL_RUNS, columns_definitions, tail_definitions
from texvlm.backends._gl_motion import keep_definitions, match_definitions
from texvlm.backends._gl_texture import GlTexture, format_of
from texvlm.backends._gl_tokens import sample_definitions
from texvlm.backends.base import TOKEN_DTYPES
from texvlm.errors import KernelBuildError
from texvlm.layouts.table import TABLE_FIELDS, TOKEN_RECORD
from texvlm.pyramid import TextureSpec
from texvlm.resources import shader_folder

# Writes every field of a record to a word of its own, by name.
READER = """#include "token_record.glsl"
layout(local_size_x = 1) in;
layout(std430, binding = 0) readonly buffer Tokens { TokenRecord tokens[]; };
layout(std430, binding = 1) writeonly buffer Words { uint words[]; };
void main() {
    uint row = gl_WorkGroupID.x;
    TokenRecord token = tokens[row];
FIELDS
}
"""


@pytest.mark.gl
def test_the_token_record_is_the_same_on_both_sides(gl_backend):
    bits = {"f": "floatBitsToUint(token.{})", "i": "uint(token.{})"}
    lines = [
        f"    words[row * {len(TABLE_FIELDS)}u + {index}u] = {bits[TOKEN_RECORD[name].kind].format(name)};"
        for index, name in enumerate(TABLE_FIELDS)
    ]
    table = np.zeros(2, TOKEN_RECORD)
    table[0] = (1.5, -2.5, 48.25, 7, -3, 0.75)
    table[1] = (1e4, 3e-3, 16.0, -1, 12, 1.0)
    text, files = _gl_programs.assemble("reader.comp", (), text=READER.replace("FIELDS", "\n".join(lines)))
    context, staging = gl_backend._context, gl_backend._staging

    def read() -> bytes:
        api = context.gl
        program = _gl_programs.build(api, text, files)
        block = staging.take(1024)
        block.write(0, table)
        block.bind(context, 0, 0, table.nbytes)
        block.bind(context, 1, 512, table.nbytes)
        api.glUseProgram(program)
        api.glDispatchCompute(len(table), 1, 1)
        api.glMemoryBarrier(_gl_api.CLIENT_MAPPED_BUFFER_BARRIER)
        api.glFinish()
        staging.done()
        api.glDeleteProgram(program)
        api.check("reader.comp")
        return block.memory[512 : 512 + table.nbytes].tobytes()

    assert gl_backend._run(read) == table.tobytes()


def variants() -> list[tuple[str, _gl_programs.Definitions]]:
    specs = [TextureSpec((16, 16), channels=c, dtype=d) for c in (1, 4) for d in ("uint8", "float32")]
    found: list[tuple[str, _gl_programs.Definitions]] = []
    for spec in specs:
        texel = format_of(spec)
        found.append(("upload.comp", texel.definitions))
        found += [(file, columns_definitions(texel)) for file in ("build_mips.comp", "refresh.comp")]
        if spec.channels == 4:
            for kept in (spec, replace(spec, channels=3)):
                found += [
                    ("refresh_attached.comp", attached_definitions(GlTexture(kept, texel, 0, 0, np.zeros(0)), form))
                    for form in ("rgba8", "rgba16f")
                ]
        found += [("build_tail.comp", tail_definitions(texel, threads)) for threads in {run[2] for run in TAIL_RUNS}]
    for patch, unit in ((14, 4), (7, 1)):
        for dtype in TOKEN_DTYPES:
            found.append(("sample.comp", sample_definitions(patch, 3, dtype, unit)))
    found += [("keep_picture.comp", keep_definitions(channels)) for channels in (1, 3)]
    return [*found, ("match_blocks.comp", match_definitions())]


@pytest.mark.gl
@pytest.mark.parametrize(("file", "definitions"), variants())
def test_every_variant_compiles(gl_backend, file, definitions):
    api = gl_backend._context.gl

    def compile_it() -> None:
        api.glDeleteProgram(_gl_programs.build(api, *_gl_programs.assemble(file, definitions)))
        api.check(file)

    gl_backend._run(compile_it)


def test_every_shader_has_a_variant_here_or_is_included():
    entries = {path.name for path in shader_folder().iterdir() if path.name.endswith(".comp")}
    assert entries == {file for file, _ in variants()}


@pytest.mark.gl
def test_a_compile_error_names_file_and_line(gl_backend):
    text, files = _gl_programs.assemble(
        "broken.comp", (), text='#include "token_record.glsl"\nvoid main() {\n    int x = nonsense;\n}\n'
    )
    with pytest.raises(KernelBuildError, match=r"broken\.comp does not compile: [\s\S]*broken\.comp:3.*nonsense"):
        gl_backend._run(lambda: _gl_programs.build(gl_backend._context.gl, text, files))


@pytest.mark.parametrize(
    ("log", "named"),
    [
        ("0:12(5): error: no", "a.comp:12: error: no"),  # Mesa
        ("1(7) : error C1008: no", "b.glsl:7: error C1008: no"),  # NVIDIA
        ("ERROR at the end", "ERROR at the end"),
    ],
)
def test_places_in_a_log_are_named(log, named):
    assert _gl_programs.name_places(log, ["a.comp", "b.glsl"]) == named


def test_a_file_included_twice_is_refused():
    with pytest.raises(KernelBuildError, match=r"x\.comp:2: token_record\.glsl is included twice"):
        _gl_programs.assemble("x.comp", (), text='#include "token_record.glsl"\n' * 2)
