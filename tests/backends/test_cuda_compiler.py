"""The kernel compiler and its cache. NVRTC needs no GPU, so all of this runs everywhere."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from cuda_bindings import compiling_bindings

from texvlm.backends.cuda import compiler as compiler_module
from texvlm.backends.cuda import image_cache
from texvlm.backends.cuda.bindings import Bindings
from texvlm.backends.cuda.compiler import NvrtcCompiler, ResourceUsage, choose_target
from texvlm.backends.cuda.image_cache import ImageCache, default_folder
from texvlm.backends.cuda.kernel_source import read_source
from texvlm.errors import BackendUnavailable, KernelBuildError

KERNEL = """#include "outer.cuh"
struct Arguments { unsigned long long target; int count; int pad; };
static_assert(sizeof(Arguments) == TEXVLM_ARGUMENT_BYTES, "differs");
extern "C" __global__ void scale(const Arguments a) {
    __shared__ int row[32];
    row[threadIdx.x] = reinterpret_cast<int*>(a.target)[threadIdx.x];
    __syncthreads();
    reinterpret_cast<int*>(a.target)[threadIdx.x] = row[31 - threadIdx.x] * FACTOR;
}
"""
DEFINITIONS = (("TEXVLM_ARGUMENT_BYTES", 16),)


@pytest.fixture(scope="session")
def bindings() -> Bindings:
    return compiling_bindings()


@pytest.fixture
def sources(tmp_path, monkeypatch) -> Path:
    """A folder of kernels, as cuda/ is one."""
    folder = tmp_path / "cuda"
    folder.mkdir()
    (folder / "scale.cu").write_text(KERNEL)
    (folder / "outer.cuh").write_text('#include "inner.cuh"\n')
    (folder / "inner.cuh").write_text("constexpr int FACTOR = 3;\n")
    monkeypatch.setattr(image_cache, "_built", {})  # as in a new process
    return folder


def make(bindings: Bindings, tmp_path: Path, architecture: str = "sm_90", **options: object) -> NvrtcCompiler:
    return NvrtcCompiler(
        architecture, folder=tmp_path / "cache", sources=tmp_path / "cuda", bindings=bindings, **options
    )


def new_process() -> None:
    image_cache._built.clear()


def test_a_kernel_is_compiled_once_and_found_again(bindings, sources, tmp_path):
    first = make(bindings, tmp_path)
    image = first.image("scale.cu", DEFINITIONS)
    assert image[:4] == b"\x7fELF"
    assert b"scale" in image
    assert first.image("scale.cu", DEFINITIONS) == image
    assert first.builds == 1
    new_process()
    again = make(bindings, tmp_path, forbid=True)
    assert again.image("scale.cu", DEFINITIONS) == image
    assert again.builds == 0
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [""]  # one entry, no leftovers


@pytest.mark.parametrize(
    "change",
    ["source", "include of an include", "definitions", "architecture", "compiler version", "options"],
)
def test_whatever_could_change_the_image_makes_another_entry(bindings, sources, tmp_path, monkeypatch, change):
    make(bindings, tmp_path).image("scale.cu", DEFINITIONS)
    new_process()
    definitions, architecture = DEFINITIONS, "sm_90"
    if change == "source":
        (sources / "scale.cu").write_text(KERNEL + "// a comment\n")
    elif change == "include of an include":
        (sources / "inner.cuh").write_text("constexpr int FACTOR = 4;\n")
    elif change == "definitions":
        definitions = (*DEFINITIONS, ("TEXVLM_PATCH", 14))
    elif change == "architecture":
        architecture = "sm_80"
    elif change == "options":
        monkeypatch.setattr(compiler_module, "OPTIONS", (*compiler_module.OPTIONS, "--use_fast_math"))
    second = make(bindings, tmp_path, architecture)
    if change == "compiler version":
        second.version = "99.0"
    second.image("scale.cu", definitions)
    assert second.builds == 1


def test_what_cannot_change_the_image_makes_none(bindings, sources, tmp_path):
    make(bindings, tmp_path).image("scale.cu", (*DEFINITIONS, ("TEXVLM_PATCH", 14)))
    new_process()
    (sources / "unrelated.cuh").write_text("syntax error\n")
    second = make(bindings, tmp_path, forbid=True)
    assert second.image("scale.cu", (("TEXVLM_PATCH", 14), *DEFINITIONS))


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "foreign"])
def test_a_damaged_entry_is_built_again(bindings, sources, tmp_path, damage):
    image = make(bindings, tmp_path).image("scale.cu", DEFINITIONS)
    (entry,) = (tmp_path / "cache").iterdir()
    data = entry.read_bytes()
    flipped = data[:-100] + bytes([data[-100] ^ 1]) + data[-99:]
    entry.write_bytes({"cut": data[:-1], "flipped": flipped, "empty": b"", "foreign": image}[damage])
    new_process()
    second = make(bindings, tmp_path)
    assert second.image("scale.cu", DEFINITIONS) == image
    assert second.builds == 1
    assert entry.read_bytes() == data


def test_a_folder_that_cannot_be_written_costs_one_line(bindings, sources, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "cache"  # root may write anywhere, but not below a file
    for _ in range(2):
        compiler = NvrtcCompiler("sm_90", folder=folder, sources=sources, bindings=bindings)
        with caplog.at_level(logging.WARNING, "texvlm"):
            assert compiler.image("scale.cu", DEFINITIONS)
            assert compiler.image("scale.cu", (*DEFINITIONS, ("TEXVLM_PATCH", 14)))
    assert compiler.builds == 0  # the second engine of a process compiles nothing
    (line,) = [record.getMessage() for record in caplog.records]
    assert "kernels cannot be kept in" in line
    assert "set TEXVLM_CACHE" in line


def test_writers_do_not_disturb_each_other(tmp_path, monkeypatch):
    monkeypatch.setattr(image_cache, "_built", {})
    images = [bytes([number]) * 100_000 for number in range(8)]
    bad: list[bytes] = []

    def write_and_read(image: bytes) -> None:
        cache = ImageCache(tmp_path)
        for _ in range(20):
            cache.put("kernel", image)
            new_process()
            found = cache.get("kernel")
            if found not in images:
                bad.append(found or b"nothing")

    threads = [threading.Thread(target=write_and_read, args=(image,)) for image in images]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not bad
    assert [path.name for path in tmp_path.iterdir()] == ["kernel"]


def test_a_cold_start_can_be_forbidden(bindings, sources, tmp_path, monkeypatch):
    words = (
        r"scale\.cu for sm_90 with TEXVLM_ARGUMENT_BYTES=16 is not among the compiled kernels in .*cache.*"
        r"unset TEXVLM_FORBID_COMPILE"
    )
    with pytest.raises(KernelBuildError, match=words):
        make(bindings, tmp_path, forbid=True).image("scale.cu", DEFINITIONS)
    monkeypatch.setenv("TEXVLM_FORBID_COMPILE", "1")
    with pytest.raises(KernelBuildError, match=words):
        make(bindings, tmp_path).image("scale.cu", DEFINITIONS)
    monkeypatch.setenv("TEXVLM_FORBID_COMPILE", "0")
    assert make(bindings, tmp_path).image("scale.cu", DEFINITIONS)


def test_an_error_names_file_variant_and_place(bindings, sources, tmp_path):
    (sources / "inner.cuh").write_text("#warning first\nconstexpr int FACTOR = missing;\n")
    with pytest.raises(KernelBuildError) as caught:
        make(bindings, tmp_path).image("scale.cu", DEFINITIONS)
    first, *log = str(caught.value).splitlines()
    assert first.startswith("scale.cu does not compile for sm_90 with TEXVLM_ARGUMENT_BYTES=16: inner.cuh(2): error")
    assert "missing" in first
    assert any("#warning" in line for line in log)  # the whole log follows
    assert not (tmp_path / "cache").exists()


def test_an_argument_of_another_size_does_not_compile(bindings, sources, tmp_path):
    with pytest.raises(KernelBuildError, match=r"scale\.cu\(3\): error: static assertion failed"):
        make(bindings, tmp_path).image("scale.cu", (("TEXVLM_ARGUMENT_BYTES", 24),))


def test_a_missing_file_is_named(bindings, sources, tmp_path):
    with pytest.raises(KernelBuildError, match=r"kernel file none\.cu is not in .*cuda; install texvlm again"):
        make(bindings, tmp_path).image("none.cu", ())
    (sources / "inner.cuh").unlink()
    with pytest.raises(KernelBuildError, match=r"kernel file inner\.cuh, included by outer\.cuh, is not in"):
        make(bindings, tmp_path).image("scale.cu", DEFINITIONS)


def test_the_assembler_tells_what_a_kernel_takes(bindings, sources, tmp_path):
    compiler = make(bindings, tmp_path)
    usage = compiler.build(read_source("scale.cu", sources), DEFINITIONS).usage
    assert 4 <= usage.registers <= 32
    assert usage == ResourceUsage(usage.registers, 0, 0, 0, 32 * 4)
    # an array that is indexed at run time cannot live in registers
    (sources / "scale.cu").write_text(
        'extern "C" __global__ void scale(int* p, int n) {\n'
        "    int kept[40];\n"
        "    for (int i = 0; i < 40; ++i) kept[i] = p[i] * n;\n"
        "    for (int i = 0; i < n; ++i) kept[p[i] % 40] += i;\n"
        "    p[0] = kept[n % 40];\n"
        "}\n"
    )
    assert compiler.build(read_source("scale.cu", sources), ()).usage.stack_bytes >= 160


def test_products_are_not_fused_with_sums(bindings, sources, tmp_path):
    (sources / "scale.cu").write_text('extern "C" __global__ void scale(float* p) { p[0] = p[1] * p[2] + p[3]; }\n')
    ptx = make(bindings, tmp_path, "sm_999").image("scale.cu", ())
    assert b"fma" not in ptx
    assert b"mul.rn.f32" in ptx or b"mul.f32" in ptx


def test_a_newer_gpu_gets_ptx_that_ends_in_a_null(bindings, sources, tmp_path):
    compiler = make(bindings, tmp_path, "sm_999")
    assert not compiler.target.is_machine_code
    image = compiler.image("scale.cu", DEFINITIONS)
    assert b".entry scale" in image
    assert image.endswith(b"\0")
    with pytest.raises(ValueError, match="tells no registers"):
        compiler.build(read_source("scale.cu", sources), DEFINITIONS).usage  # noqa: B018


KNOWN = (75, 80, 86, 89, 90, 100, 120)


@pytest.mark.parametrize(
    ("gpu", "target"),
    [
        ("sm_90", "sm_90"),
        ("sm_87", "sm_86"),  # machine code runs on later GPUs of its family
        ("sm_121", "sm_120"),
        ("sm_110", "compute_100"),
        ("sm_130", "compute_120"),
    ],
)
def test_the_target_of_each_gpu(gpu, target):
    assert choose_target(gpu, KNOWN, "13.0").architecture == target


def test_gpus_that_cannot_be_compiled_for():
    with pytest.raises(BackendUnavailable, match=r"NVRTC 13\.0 compiles for sm_75 and newer; this GPU is sm_70"):
        choose_target("sm_70", KNOWN, "13.0")
    with pytest.raises(ValueError, match=r"architecture '9\.0'; accepted: 'sm_75'"):
        choose_target("9.0", KNOWN, "13.0")


@pytest.mark.parametrize("major", [12, 13])
def test_a_missing_compiler_says_what_to_install(major):
    def no_library() -> None:
        raise RuntimeError("no libnvrtc\n on this machine")

    bindings = Bindings(None, None, SimpleNamespace(nvrtcVersion=no_library), (major, 9, 9))
    extra = "cuda12" if major == 12 else "cuda"
    words = rf'NVRTC library of CUDA {major} .*\(no libnvrtc on this machine\); pip install "texvlm\[{extra}\]"'
    with pytest.raises(BackendUnavailable, match=words):
        NvrtcCompiler("sm_90", bindings=bindings)


def test_where_kernels_are_kept(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("HOME", "/home/user")
    for name in ("TEXVLM_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert default_folder() == Path("/home/user/.cache/texvlm/kernels")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache")
    assert default_folder() == Path("/var/cache/texvlm/kernels")
    monkeypatch.setenv("TEXVLM_CACHE", "/kernels of mine")
    assert default_folder() == Path("/kernels of mine/kernels")


def test_two_processes_share_the_cache(bindings, tmp_path):
    code = (
        "import sys; from pathlib import Path\n"
        "from texvlm.backends.cuda.compiler import NvrtcCompiler\n"
        "made = NvrtcCompiler('sm_90', sources=Path(sys.argv[1]))\n"
        "made.image('one.cu', ())\n"
        "print(made.builds, made.folder)\n"
    )
    (tmp_path / "one.cu").write_text('extern "C" __global__ void one(int* p) { p[0] = 1; }\n')
    counts = []
    for _ in range(2):
        ran = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)],
            env={**os.environ, "TEXVLM_CACHE": str(tmp_path / "shared")},
            capture_output=True,
            text=True,
            check=True,
        )
        counts.append(ran.stdout.split()[0])
    assert counts == ["1", "0"]
