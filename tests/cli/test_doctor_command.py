"""`texvlm doctor`: what works is tested, what is missing has a reason and a remedy."""

from __future__ import annotations

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from texvlm import backends, doctor
from texvlm.doctor import Finding, diagnose
from texvlm.errors import BackendUnavailable


@pytest.fixture(scope="module")
def found():
    return diagnose()


def refuse(reason):
    def opener(automatic, filtering):
        raise BackendUnavailable(reason)

    return opener


def test_it_names_versions_backends_and_the_choice(found):
    assert {"texvlm", "python", "torch", "numba", "av", "FFmpeg", "cores"} <= set(found.versions)
    assert all(found.versions[name] for name in ("texvlm", "torch", "numba", "numpy", "av", "FFmpeg"))
    states = {finding.name: finding.state for finding in found.backends}
    assert list(states) == ["cuda", "gl", "cpu"]
    assert states["cpu"] == "ok"
    assert found.automatic in ("gl", "cpu")
    assert found.usable


def test_every_usable_backend_gives_the_same_tokens(found):
    usable = {finding.name for finding in found.backends if finding.state == "ok"}
    assert {test.name for test in found.self_tests if test.state == "ok"} == usable


def test_the_threading_layer_and_the_cache_are_named(found):
    findings = {finding.name: finding for finding in found.findings}
    assert set(findings) == {"threads", "models", "optical flow", "viewer", "web viewer", "nvtx", "kernel cache"}
    assert "threads" in findings["threads"].detail


def test_the_report_as_json(call, monkeypatch, found):
    monkeypatch.setattr(doctor, "diagnose", lambda: found)
    report = call("doctor", "--json").json
    assert report["usable"] is True
    assert [finding["name"] for finding in report["backends"]] == ["cuda", "gl", "cpu"]
    assert report["cuda"][0]["name"] == "cuda-bindings"


def test_what_cuda_lacks_is_listed_with_its_remedy(call, monkeypatch, found):
    lacking = Finding("NVIDIA driver", "missing", "no libcuda is found", ("install the driver",))
    monkeypatch.setattr(doctor, "diagnose", lambda: replace(found, cuda=[lacking]))
    outcome = call("doctor")
    assert re.search(r"NVIDIA driver +missing +no libcuda is found", outcome.out)
    assert "NVIDIA driver is missing; what helps:\n  install the driver" in outcome.out


def test_a_missing_gl_is_no_failure_and_has_a_remedy(call, monkeypatch):
    monkeypatch.setitem(backends._OPENERS, "gl", refuse("libEGL.so.1 cannot be loaded"))
    outcome = call("doctor")
    assert outcome.code == 0
    assert "libEGL.so.1 cannot be loaded" in outcome.out
    assert "gl is missing; what helps:" in outcome.out
    assert "apt install libegl1" in outcome.out
    assert "auto takes: cpu" in outcome.out


def test_no_backend_at_all_is_exit_code_2(call, monkeypatch):
    for name in backends.BACKENDS:
        monkeypatch.setitem(backends._OPENERS, name, refuse(f"no {name} today"))
    outcome = call("doctor")
    assert outcome.code == 2
    assert "auto takes: nothing\n" in outcome.out
    assert "left out: cuda: no cuda today; gl: no gl today; cpu: no cpu today" in outcome.out


def test_a_backend_that_breaks_is_reported_and_not_raised(call, monkeypatch):
    def broken(automatic, filtering):
        raise RuntimeError("driver fell over")

    monkeypatch.setitem(backends._OPENERS, "gl", broken)
    outcome = call("doctor")
    assert outcome.code == 0
    assert re.search(r"gl +failed +RuntimeError: driver fell over", outcome.out)
    assert "auto takes: cpu" in outcome.out


def test_a_gpu_that_opengl_does_not_use_is_pointed_out(call, monkeypatch, found):
    monkeypatch.setattr(doctor, "_nvidia_devices", lambda: ["NVIDIA 0: a GPU, CUDA 13.0"])
    monkeypatch.setattr(doctor, "_self_test", lambda name: ("renderer llvmpipe, software True", np.zeros(3)))
    outcome = call("doctor")
    assert "NVIDIA 0: a GPU, CUDA 13.0" in outcome.out
    assert "gl works; it could do better:" in outcome.out
    assert "OpenGL renders on the CPU" in outcome.out


@pytest.mark.parametrize(("place", "state"), [(None, "missing"), ("/proc/self", "failed"), (".", "ok")])
def test_a_cache_that_cannot_be_written_costs_time_and_is_told(monkeypatch, tmp_path, place, state):
    from texvlm.backends import _filter

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: str(path) == ".")
    monkeypatch.setattr(_filter, "split_lod", SimpleNamespace(stats=SimpleNamespace(cache_path=place)))
    finding = doctor._kernel_cache()
    assert finding.state == state
    assert bool(finding.advice) == (state != "ok")


@pytest.mark.parametrize(
    ("version", "state", "words"),
    [
        ("5.23.0", "ok", "transformers 5.23.0, for vision models"),
        ("5.30.1.dev0", "ok", "5.30.1.dev0"),
        ("5.9.0", "failed", "transformers 5.9.0; vision models"),
        ("6.0.0", "failed", "need 5.23 or newer, below 6.0"),
        (None, "missing", "no vision models (encode --model, classify, similar, texvlm.encoders)"),
    ],
)
def test_the_library_of_models_is_told_with_what_it_is_for(monkeypatch, version, state, words):
    def found(name):
        if version is None:
            raise doctor.metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(doctor.metadata, "version", found)
    finding = doctor._models()
    assert finding.state == state
    assert words in finding.detail
    assert finding.advice == (() if state == "ok" else ('pip install "texvlm[hf]"',))


def test_tokens_that_differ_fail_the_self_test():
    same = np.zeros((1, 4), np.float32)
    tests = doctor._compare({"gl": same + 3 / 255, "cuda": same + 0.05 / 255, "cpu": same, "other": "it broke"})
    assert {test.name: test.state for test in tests} == {"gl": "failed", "cuda": "ok", "cpu": "ok", "other": "failed"}
    assert "3.000 / 255" in tests[0].detail
    assert doctor._compare({"cpu": same * np.nan})[0].state == "failed"


def test_advice_names_what_to_check(monkeypatch):
    monkeypatch.setattr(doctor.sys, "platform", "linux")
    monkeypatch.setattr(doctor.platform, "release", lambda: "5.15.0-microsoft-standard-WSL2")
    advice = "\n".join(doctor._gl_advice())
    for words in ("apt install", "NVIDIA_DRIVER_CAPABILITIES", "/dev/dxg"):
        assert words in advice
    assert Finding("x", "ok", "y").advice == ()
