"""Choosing a backend: by name, by the environment, and past those that cannot be had."""

from __future__ import annotations

import pytest
import torch

import texvlm.backends as backends
from texvlm.errors import BackendUnavailable


def test_auto_keeps_every_refusal_with_its_reason(monkeypatch):
    def broken(automatic: bool, filtering: str) -> None:
        raise RuntimeError("driver version is insufficient")

    def missing(automatic: bool, filtering: str) -> None:
        raise BackendUnavailable("no EGL library")

    monkeypatch.delenv("TEXVLM_BACKEND", raising=False)
    monkeypatch.setitem(backends._OPENERS, "cuda", broken)
    monkeypatch.setitem(backends._OPENERS, "gl", missing)
    choice = backends.open_backend()
    assert choice.backend.name == "cpu"
    assert choice.refusals == ("cuda: RuntimeError: driver version is insufficient", "gl: no EGL library")
    choice.backend.close()
    with pytest.raises(BackendUnavailable, match="gl: no EGL library"):
        backends.open_backend("gl")
    with pytest.raises(RuntimeError, match="insufficient"):  # asked for by name: the failure itself
        backends.open_backend("cuda")


def test_auto_takes_no_software_renderer(gl_backend, monkeypatch):
    monkeypatch.delenv("TEXVLM_BACKEND", raising=False)
    choice = backends.open_backend()
    if gl_backend.describe()["software"]:
        assert choice.backend.name == "cpu"
        assert any(reason.startswith("gl: ") and "software" in reason for reason in choice.refusals)
    else:
        assert choice.backend.name == "gl"
    choice.backend.close()


def test_the_environment_may_choose(monkeypatch):
    monkeypatch.setenv("TEXVLM_BACKEND", "cpu")
    choice = backends.open_backend()
    assert (choice.backend.name, choice.refusals) == ("cpu", ())
    choice.backend.close()
    monkeypatch.setenv("TEXVLM_BACKEND", "abacus")
    with pytest.raises(ValueError, match=r"backend 'abacus' \(from TEXVLM_BACKEND\); accepted: 'auto', 'cuda'"):
        backends.open_backend()


def test_a_machine_without_cuda_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    for name in ("cuda", *backends.SHARED):
        with pytest.raises(BackendUnavailable, match=f"^{name}: .* built without CUDA; install a CUDA build"):
            backends.open_backend(name)


def test_filtering_is_one_of_two():
    with pytest.raises(ValueError, match="filtering is 'soft'; accepted: 'hardware', 'exact'"):
        backends.open_backend("cpu", filtering="soft")  # type: ignore[arg-type]
