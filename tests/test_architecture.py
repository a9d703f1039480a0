"""The shape of the code: imports point one way, files stay short, the package stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import texvlm

PACKAGE = Path(texvlm.__file__).parent
LIMIT = 400

# From the bottom up. A module may import modules of lower ranks, and those of its own package.
RANKS = [
    {"errors", "_compiled"},
    {"regions"},
    {"pyramid", "resources", "glyphs", "files"},
    {"visual_field"},
    {"layouts", "frames"},
    {"_yuv_kernel"},
    {"yuv"},
    {"device_frames"},
    {"profiling", "guard"},
    {"trace"},
    {"backends"},
    {"tokens", "sources", "views"},
    {"fixation"},
    {"budget", "gaze"},
    {"residency"},
    {"token_cache", "frame_graph", "engine_options", "gl_verbs", "resident_blocks"},
    {"engine"},
    {"motion", "xr"},
    {"drawing"},
    {"encoders"},
    {"temporal"},
    {"video_models"},
    {"store"},
    {"encode"},
    {"viewer"},
    {"bench", "doctor"},
    {"evaluation"},
    {"demo"},
    {"cli"},
    {"__main__"},
]
LIGHT = {
    "errors",
    "regions",
    "pyramid",
    "visual_field",
    "layouts",
    "frames",
    "yuv",
    "glyphs",
}  # NumPy, and Numba for one kernel
HEAVY = {"torch", "av", "cv2", "safetensors", "pydantic", "typer", "rich", "transformers"}
ONLY_IN = {  # libraries that one part alone may import
    "typer": {"cli"},
    "rich": {"cli"},
    "safetensors": {"store", "video_models"},
    "transformers": {"encoders"},
    "cv2": {"bench", "cli", "motion"},
    "pyarrow": {"gaze"},
    "xr": {"xr"},
    "glfw": {"viewer"},
    "rerun": {"viewer"},
    "fastapi": {"viewer"},
    "uvicorn": {"viewer"},
}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def part_of(module: str) -> str:
    """Top-level part of a dotted name inside the package: 'texvlm.backends.cpu' -> 'backends'."""
    pieces = module.split(".")
    return pieces[1] if len(pieces) > 1 else "__init__"


def imports(path: Path) -> list[tuple[str, bool]]:
    """(dotted name, at module level) of everything a file imports, TYPE_CHECKING blocks left out."""
    tree = ast.parse(path.read_text())
    guarded = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.dump(block.test)
        for node in ast.walk(block)
    }
    top = {id(node) for node in tree.body}
    found = []
    for node in ast.walk(tree):
        if id(node) in guarded:
            continue
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) in top) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append((node.module, id(node) in top))
            if node.module == "texvlm":
                found += [(f"texvlm.{alias.name}", id(node) in top) for alias in node.names]
    return found


def rank(part: str) -> int:
    for index, parts in enumerate(RANKS):
        if part in parts:
            return index
    raise AssertionError(f"part {part!r} of the package has no rank; add it to RANKS")


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if part == "__init__":
        return
    for name, _ in imports(path):
        if not name.startswith("texvlm."):
            continue
        other = part_of(name)
        if other in texvlm._HOME:  # `from texvlm import Engine`
            other = texvlm._HOME[other].split(".")[0]
        if other != part and other != "__version__":
            assert rank(other) < rank(part), f"{path.name} ({part}) imports {name}"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_libraries_stay_in_their_place(path):
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for name, top in imports(path):
        library = name.split(".")[0]
        assert part in ONLY_IN.get(library, {part}), f"{path.name} imports {library}"
        if part in LIGHT and top:
            assert library not in HEAVY, f"{path.name} loads {library} when imported"


def test_files_stay_short():
    root = PACKAGE.parent
    files = [p for p in modules() + sorted((root / "tests").rglob("*.py")) + sorted((root / "demos").rglob("*.py"))]
    files += [p for folder in ("shaders", "cuda") for p in (root / folder).rglob("*") if p.is_file()]
    long = {str(p.relative_to(root)): n for p in files if (n := len(p.read_text().splitlines())) > LIMIT}
    assert not long, f"files over {LIMIT} lines: {long}"


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, texvlm; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert not loaded & (HEAVY | {"numba", "numpy"})


def test_every_public_name_is_there():
    for name in texvlm.__all__:
        assert getattr(texvlm, name) is not None
    assert set(texvlm._HOME) == set(texvlm.__all__) - {"__version__"}
    with pytest.raises(AttributeError, match="no attribute 'engin'"):
        _ = texvlm.engin
