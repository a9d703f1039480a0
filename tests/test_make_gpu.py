"""`make gpu`: what is missing is told by name, a failed step hides none, and the log names no folder of ours."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from cuda_device import open_host_device

from texvlm.backends.cuda.backend import CudaBackend

ROOT = Path(__file__).parents[1]


def load(name):
    spec = importlib.util.spec_from_file_location(f"tools_{name}", ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def gpu():
    return load("gpu")


def wheel(folder: Path, name: str, body: str = "") -> Path:
    """A wheel of one module."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", body)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return path


class NoDriver:
    """Stands for ctypes on a machine without libcuda."""

    @staticmethod
    def CDLL(name):  # noqa: N802 (its name in ctypes)
        raise OSError(f"{name}: cannot open shared object file")


def test_without_a_gpu_one_line_says_so(gpu, monkeypatch, capsys):
    monkeypatch.setattr(gpu, "ctypes", NoDriver)
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    assert gpu.main() == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("gpu: no NVIDIA driver here")
    assert captured.err.count("\n") == 1
    assert not captured.out


def test_missing_modules_are_named_before_anything_runs(gpu, monkeypatch, tmp_path):
    monkeypatch.setattr(gpu, "NEEDED", {"numpy": "numpy", "not_there_1": "one", "not_there_2": "two"})
    with pytest.raises(gpu.Refusal) as refused:
        gpu.prepare(tmp_path, None)
    message = str(refused.value)
    assert "2 needed modules" in message
    assert "not_there_1: ModuleNotFoundError" in message
    assert "comes with two" in message
    assert "numpy" not in message


def test_wheels_fill_what_is_lacking_and_nothing_else(gpu, monkeypatch, tmp_path, capsys):
    folder = tmp_path / "wheels"
    folder.mkdir()
    wheel(folder, "texvlm_wheel_test", "value = 5\n")
    wheel(folder, "numpy", "raise ImportError('this is not numpy')\n")  # the interpreter has it
    monkeypatch.setattr(gpu, "NEEDED", {"numpy": "numpy", "texvlm_wheel_test": "a wheel"})
    monkeypatch.setattr(gpu, "WELCOME", {"not_there_3": "three"})
    environment = gpu.prepare(tmp_path, folder)
    assert gpu.import_failure("texvlm_wheel_test", environment) is None
    assert gpu.import_failure("texvlm", environment) is None
    assert gpu.import_failure("texvlm_wheel_test", dict(os.environ)) is not None
    told = capsys.readouterr().out
    assert f"from {folder}: texvlm_wheel_test\n" in told
    assert "three is not here; tests that use it are skipped" in told


def test_wheels_that_cannot_be_used_are_refused(gpu, tmp_path):
    with pytest.raises(gpu.Refusal, match="holds no wheels"):
        gpu.prepare(tmp_path, tmp_path)
    wheel(tmp_path, "texvlm_wheel_test").rename(tmp_path / "texvlm_wheel_test-1.0-cp27-cp27m-win32.whl")
    with pytest.raises(gpu.Refusal, match=r"cannot be installed: .*not a supported wheel"):
        gpu.prepare(tmp_path, tmp_path)


@pytest.fixture
def log(gpu, tmp_path):
    (tmp_path / "scratch").mkdir()
    with gpu.Log(tmp_path / "run.log", tmp_path / "scratch") as log:
        yield log


def test_a_failed_step_hides_none_and_is_counted(gpu, log, tmp_path, capsys):
    steps = gpu.Steps(log, dict(os.environ))
    steps.run("first", [sys.executable, "-c", "print('one'); raise SystemExit(3)"], limit_s=60)
    steps.run("second", [sys.executable, "-c", "import os; print(os.environ['EXTRA'])"], limit_s=60, EXTRA="two")
    assert steps.report()
    text = (tmp_path / "run.log").read_text()
    assert text == capsys.readouterr().out.replace(sys.prefix, "$PYTHON")
    for words in ("one\n", "two\n", "first failed, exit status 3", "second passed"):
        assert words in text


def test_a_step_that_hangs_is_stopped_with_its_children(gpu, log, capsys):
    steps = gpu.Steps(log, dict(os.environ))
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    steps.run("slow", [sys.executable, "-c", child], limit_s=1)
    assert steps.report()
    assert "slow stopped after 1 s" in capsys.readouterr().out


def test_all_steps_passing_is_no_failure(gpu, log):
    steps = gpu.Steps(log, dict(os.environ))
    steps.run("only", [sys.executable, "-c", ""], limit_s=60)
    assert not steps.report()


def test_the_log_names_no_folder_of_this_machine(gpu, log, tmp_path):
    log.write(f"{ROOT}/texvlm {tmp_path}/scratch/x {sys.prefix}/bin/python {Path.home()}/.cache\n")
    assert (tmp_path / "run.log").read_text() == "./texvlm $TMP/x $PYTHON/bin/python ~/.cache\n"


def test_the_whole_run_copies_its_results(gpu, monkeypatch, tmp_path):
    ran = []

    def run(self, name, command, *, limit_s, **variables):
        ran.append((name, variables))
        if "--out" in command:
            Path(command[command.index("--out") + 1]).write_text("{}")
        self._outcomes.append((name, "passed", 0.0))

    monkeypatch.setattr(gpu.Steps, "run", run)
    monkeypatch.setattr(gpu, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(gpu, "ROOT", tmp_path)
    monkeypatch.setattr(gpu, "renders_on_nvidia", lambda environment: True)
    monkeypatch.setattr(gpu, "find_sanitizer", lambda: "/opt/compute-sanitizer")
    monkeypatch.setattr(gpu.shutil, "which", lambda name: name)
    monkeypatch.chdir(tmp_path)
    assert gpu.run_all("NVIDIA H100 80GB HBM3", {}, tmp_path / "scratch", tmp_path / "copy", quick=False) == 0
    assert [name for name, _ in ran] == ["nvidia-smi", "doctor", "tests", "memcheck", "benchmark"]
    assert dict(ran)["tests"] == {"TEXVLM_REQUIRE": "cuda,gl"}
    names = sorted(path.name for path in (tmp_path / "copy").iterdir())
    assert [name.split("-20")[0] for name in names] == ["nvidia-h100-80gb-hbm3"] * 2
    assert [Path(name).suffix for name in names] == [".json", ".log"]


def test_the_sanitizer_is_found_on_the_path_or_in_a_toolkit(gpu, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(gpu.glob, "glob", lambda pattern: [])
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    assert gpu.find_sanitizer() is None
    tool = tmp_path / "bin" / "compute-sanitizer"
    tool.parent.mkdir()
    tool.touch(mode=0o755)
    assert gpu.find_sanitizer() == str(tool)
    monkeypatch.setenv("PATH", str(tool.parent))
    monkeypatch.delenv("CUDA_HOME")
    assert gpu.find_sanitizer() == str(tool)


@pytest.mark.parametrize(
    ("arguments", "python"),
    [([], ".venv/bin/python"), (["PYTHON=python9"], "python9"), (["WHEELS=w", "PYTHON=python9"], "python9")],
)
def test_make_takes_the_interpreter_given(arguments, python):
    # as from a shell: under `make test` a nested make inherits its options and announces folders
    shell = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    command = ["make", "-n", "gpu", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env=shell)
    last = done.stdout.strip().splitlines()[-1]
    assert last.startswith(f"{python} tools/gpu.py")
    assert ("--wheels" in last) == ("WHEELS=w" in arguments)
    assert ("--install" in done.stdout) == (not arguments)


def test_the_run_for_the_sanitizer_breaks_no_rule():
    tool, drivers = load("sanitize_run"), []

    def open_one(filtering):
        driver, compiler = open_host_device()
        drivers.append(driver)
        return CudaBackend(driver, compiler, filtering=filtering)

    assert tool.exercise(open_one, torch.device("cpu"), sizes=((17, 15),)) > 100
    assert len(drivers) == 2
    for driver in drivers:
        assert not driver.leaks()
        assert not driver.violations
        assert not driver.outside_writes
