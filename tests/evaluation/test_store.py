"""Features are kept by all that they depend on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from texvlm.encoders.untrained import untrained_vit
from texvlm.evaluation.store import FeatureStore


@pytest.fixture
def encoder():
    return untrained_vit(16, 1, 2, image=32)


def counting(value=1.0):
    calls = []

    def make():
        calls.append(value)
        return {"rows": np.full((2, 3), value, np.float32)}

    return make, calls


def test_what_is_kept_is_not_made_again(tmp_path, encoder):
    make, calls = counting()
    for _ in range(3):
        np.testing.assert_array_equal(FeatureStore(tmp_path / "new", encoder).get("a", make)["rows"], 1)
    assert len(calls) == 1


def test_another_description_or_another_weight_is_another_file(tmp_path, encoder):
    make, calls = counting()
    FeatureStore(tmp_path, encoder).get("a", make)
    FeatureStore(tmp_path, encoder).get("b", make)
    with torch.no_grad():
        next(encoder.parameters()).add_(1e-3)
    FeatureStore(tmp_path, encoder).get("a", make)
    assert len(calls) == 3
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("damage", [b"", b"not a zip file", b"PK\x03\x04 cut off"])
def test_a_damaged_file_is_made_anew(tmp_path, encoder, damage):
    make, calls = counting()
    store = FeatureStore(tmp_path, encoder)
    store.get("a", make)
    (path,) = tmp_path.iterdir()
    path.write_bytes(damage)
    np.testing.assert_array_equal(store.get("a", make)["rows"], 1)
    np.testing.assert_array_equal(store.get("a", make)["rows"], 1)
    assert len(calls) == 2


def test_without_a_folder_nothing_is_kept(encoder):
    make, calls = counting()
    store = FeatureStore(None, encoder)
    store.get("a", make)
    store.get("a", make)
    assert len(calls) == 2
