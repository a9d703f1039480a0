"""Every kernel in every shipped variant, for every architecture that is supported: no GPU is needed.

Two architectures get all variants, the others two of each file: it is the architecture that matters
there, and the whole table would take minutes.
"""

from __future__ import annotations

import ast
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cuda_bindings import compiling_bindings

import texvlm.backends.cuda as package
from texvlm.backends.cuda.compiler import NvrtcCompiler
from texvlm.backends.cuda.kernel_source import read_source
from texvlm.backends.cuda.variants import LAUNCHERS, Variant, shipped_variants
from texvlm.resources import cuda_folder

WHOLE = ("sm_75", "sm_90")
OTHERS = ("sm_80", "sm_86", "sm_89", "sm_100", "sm_120")
MOST_SHARED = 48 << 10
"""Bytes of shared memory that a block gets on every architecture without asking."""

VARIANTS: dict[str, list[Variant]] = {}
for variant in shipped_variants():
    VARIANTS.setdefault(variant[0], []).append(variant)


def chosen(file: str, architecture: str) -> list[Variant]:
    every = VARIANTS[file]
    return every if architecture in WHOLE else list(dict.fromkeys((every[0], every[-1])))


@pytest.fixture(scope="module")
def compilers() -> dict[str, NvrtcCompiler]:
    bindings = compiling_bindings()
    return {name: NvrtcCompiler(name, bindings=bindings) for name in WHOLE + OTHERS}


def test_every_kernel_file_has_variants():
    assert set(VARIANTS) == {path.name for path in cuda_folder().iterdir() if path.name.endswith(".cu")}


def test_no_launching_module_is_forgotten():
    found = set()
    for path in Path(package.__file__).parent.glob("*.py"):
        body = ast.parse(path.read_text()).body
        if any(isinstance(node, ast.FunctionDef) and node.name == "variants" for node in body):
            found.add(path.stem)
    assert found == set(LAUNCHERS)


@pytest.mark.parametrize("architecture", WHOLE + OTHERS)
@pytest.mark.parametrize("file", sorted(VARIANTS))
def test_it_compiles_and_stays_in_registers(compilers, file, architecture):
    compiler = compilers[architecture]
    assert compiler.target.architecture == architecture  # machine code of its own, not a relative's
    source = read_source(file)
    variants = chosen(file, architecture)
    with ThreadPoolExecutor(2) as pool:  # NVRTC compiles side by side
        builds = list(pool.map(lambda variant: compiler.build(source, variant[1]), variants))
    for (_, definitions), build in zip(variants, builds, strict=True):
        usage = build.usage
        assert usage.spill_bytes == usage.reload_bytes == 0, f"{definitions}: {usage}"
        assert usage.stack_bytes == 0, f"a local array did not become registers in {definitions}: {usage}"
        assert usage.shared_bytes <= MOST_SHARED, f"{definitions}: {usage}"
        assert f"'{file.removesuffix('.cu')}'" in build.log  # the entry point is named after the file
        assert "warning" not in build.log, build.log
