"""The probe learns what can be learned, nothing else, and says how sure its numbers are."""

from __future__ import annotations

import numpy as np
import pytest

from texvlm.evaluation.probe import PENALTIES, ratio, share, train_probe


def clouds(rng, n, spread):
    """Rows around one centre a class, in frames of four."""
    labels = np.arange(n) % 3
    centres = np.array([[4.0, 0, 0, 0], [0, 4, 0, 0], [0, 0, 4, 0]])
    rows = (centres[labels] + spread * rng.standard_normal((n, 4))).astype(np.float32)
    return rows, labels.astype(np.int64), (np.arange(n) // 4).astype(np.int64)


def test_it_reads_what_is_there(rng):
    probe = train_probe(*clouds(rng, 120, 0.5), classes=3)
    rows, labels, _ = clouds(rng, 60, 0.5)
    assert (probe.predict(rows) == labels).mean() > 0.97
    assert probe.penalty in PENALTIES
    assert probe.logits(rows).shape == (60, 3)


def test_it_reads_nothing_from_noise(rng):
    rows, labels, names = clouds(rng, 240, 0.5)
    noise = rng.standard_normal(rows.shape).astype(np.float32)
    probe = train_probe(noise[:120], labels[:120], names[:120], classes=3)
    assert (probe.predict(noise[120:]) == labels[120:]).mean() < 0.55


def test_scale_and_offset_of_features_do_not_matter(rng):
    rows, labels, names = clouds(rng, 120, 1.5)
    one, two = train_probe(rows, labels, names, classes=3), train_probe(rows * 1000 + 5000, labels, names, classes=3)
    assert (one.predict(rows) == two.predict(rows * 1000 + 5000)).mean() > 0.98


def test_training_twice_gives_the_same(rng):
    given = clouds(rng, 60, 2.0)
    one, two = (train_probe(*given, classes=3) for _ in range(2))
    np.testing.assert_array_equal(one.weights.numpy(), two.weights.numpy())


def test_a_constant_feature_is_no_trouble(rng):
    rows, labels, names = clouds(rng, 60, 0.5)
    probe = train_probe(np.concatenate([rows, np.ones((60, 1), np.float32)], axis=1), labels, names, classes=3)
    assert probe.weights.isfinite().all()


def test_what_cannot_be_trained_on(rng):
    rows, labels, names = clouds(rng, 12, 0.5)
    with pytest.raises(ValueError, match="cross-validation needs two"):
        train_probe(rows, labels, names * 0, classes=3)
    rows[3, 1] = np.nan
    with pytest.raises(ValueError, match="features hold NaN"):
        train_probe(rows, labels, names, classes=3)


def test_intervals_draw_frames_not_targets(rng):
    right = np.repeat(rng.uniform(size=40) < 0.5, 5)  # all targets of a frame are right, or none
    alone, together = share(right, np.arange(200)), share(right, np.arange(200) // 5)
    assert alone.low <= alone.value <= alone.high
    assert together.value == alone.value == pytest.approx(right.mean(), abs=1e-4)
    assert together.high - together.low > 1.7 * (alone.high - alone.low)


def test_a_ratio_is_paired():
    right, names = np.arange(100) % 4 != 0, np.arange(100) // 4
    found = ratio(right, right, names)
    assert found is not None
    assert (found.value, found.low, found.high) == (1, 1, 1)
    half = ratio(right & (np.arange(100) % 4 == 1), right, names)
    assert half is not None
    assert half.value == pytest.approx(1 / 3, abs=1e-4)
    assert ratio(right, right & False, names) is None
