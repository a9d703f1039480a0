"""Evidence: what each kind finds in a frame, what it forgets, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from fixation.scenes import SIZE, places, plain, scenes_of, uv, with_square

from texvlm.fixation import (
    Attention,
    Changes,
    ColourTarget,
    Peaks,
    QueryRelevance,
    Saliency,
    ScoreMap,
    TemplateTarget,
    find_peaks,
)

SPOT = (200, 60)


def peak_of(evidence, frames, **more):
    """(u, v) of the highest place of each frame; None where there is none."""
    found = []
    for scene in scenes_of(frames, **more):
        peaks = find_peaks(evidence.score(scene), 1, spacing=0.1, size=scene.size)
        found.append((peaks[0].u, peaks[0].v) if peaks else None)
    return found


# ---- changes


def test_changes_are_found_where_they_are_and_fade():
    frames = [plain()] * 2 + [with_square(SPOT)] + [with_square(SPOT)] * 30
    evidence, heights = Changes(decay_s=0.2), []
    for scene in scenes_of(frames):
        heights.append(evidence.score(scene).values.max())
    assert heights[:2] == [0, 0]  # all tiles of the first frame are new: no evidence
    assert heights[2] > 0
    np.testing.assert_allclose(np.diff(np.log(heights[2:])), -1 / 30 / 0.2, rtol=1e-3)
    found = peak_of(Changes(), frames)
    assert found[0] is found[1] is None
    np.testing.assert_allclose(found[2], uv(*SPOT), atol=0.03)


def test_a_cut_is_no_evidence_and_ends_what_was_there(rng):
    cut = rng.integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    found = peak_of(Changes(), [plain(), with_square(SPOT), cut, cut])
    assert found[1] is not None
    assert found[2] is found[3] is None


def test_changes_survive_a_frame_of_another_size():
    found = peak_of(
        Changes(), [plain(), with_square(SPOT), plain((96, 64)), with_square((48, 32), side=8, size=(96, 64))]
    )
    assert found[2] is None
    np.testing.assert_allclose(found[3], (0.5, 0.5), atol=0.1)


def test_changes_need_a_report():
    for scene in scenes_of([plain()]):
        bare = type(scene)(scene.source, scene.size, scene.mips)
        with pytest.raises(ValueError, match="without a frame report"):
            Changes().score(bare)


# ---- saliency


@pytest.mark.parametrize("colour", [(240, 240, 240), (0, 0, 0), (255, 60, 60), (90, 90, 255)])
def test_what_differs_from_its_surround_is_salient(colour):
    np.testing.assert_allclose(peak_of(Saliency(), [with_square(SPOT, colour=colour)])[0], uv(*SPOT), atol=0.02)


def test_a_plain_frame_has_nothing_salient():
    assert peak_of(Saliency(), [plain()]) == [None]


def test_saliency_reads_a_few_thousand_texels_of_a_large_frame():
    reads = []
    for scene in scenes_of([plain((1920, 1080))]):
        real = scene.mips._read
        scene.mips._read = lambda level, real=real: (reads.append(real(level)), reads[-1])[1]
        Saliency().score(scene)
        Saliency().score(scene)  # read once for all who ask
    assert len(reads) == 3
    assert sum(level.shape[0] * level.shape[1] for level in reads) < 10_000


# ---- targets


def test_a_colour_is_found_among_others():
    frame = with_square((80, 120), colour=(30, 200, 30))
    frame[40:64, 200:224] = (220, 30, 30)
    np.testing.assert_allclose(peak_of(ColourTarget((220 / 255, 0.1, 0.1)), [frame])[0], uv(212, 52), atol=0.01)
    assert peak_of(ColourTarget((0, 0, 1)), [frame]) == [None]


@pytest.mark.parametrize("side", [12, 40, 64])
def test_a_picture_is_found_where_it_is(rng, side):
    thing = np.kron(rng.integers(0, 256, (side // 4, side // 4, 3)), np.ones((4, 4, 1))).astype(np.uint8)
    frame = np.kron(rng.integers(0, 256, (48, 80, 3)), np.ones((4, 4, 1))).astype(np.uint8)
    frame[97 : 97 + side, 203 : 203 + side] = thing
    found = peak_of(TemplateTarget(thing), [frame])[0]
    np.testing.assert_allclose(found, uv(203 + side / 2, 97 + side / 2), atol=4 / SIZE[0] + 4 / SIZE[1])
    darker = (frame * 0.5 + 20).astype(np.uint8)  # correlation knows neither brightness nor contrast
    np.testing.assert_allclose(peak_of(TemplateTarget(thing), [darker])[0], found, atol=0.01)


def test_a_picture_that_is_not_there_is_not_found(rng):
    thing = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    assert peak_of(TemplateTarget(thing), [with_square(SPOT)]) == [None]


def test_the_correlation_is_that_of_its_definition(rng):
    from texvlm.fixation.targets import _correlation

    image, template = rng.random((20, 30), np.float32), rng.random((5, 7), np.float32)
    found = _correlation(image, template)
    assert found.shape == (16, 24)
    for y, x in ((0, 0), (15, 23), (7, 11)):
        expected = np.corrcoef(image[y : y + 5, x : x + 7].ravel(), template.ravel())[0, 1]
        assert found[y, x] == pytest.approx(expected, abs=1e-6)


# ---- the model's


def test_attention_is_kept_over_frames_that_bring_none_and_smoothed():
    evidence = Attention(keep=0.5)
    first, second = np.zeros((2, 4, 4))
    first[1, 2], second[3, 0] = 1, 1
    given = [None, first, None, second]
    maps = []
    for attention in given:
        for scene in scenes_of([plain()], attention=attention):
            maps.append(evidence.score(scene).values)
    assert maps[0].tolist() == [[0]]
    np.testing.assert_array_equal(maps[1], first)
    np.testing.assert_array_equal(maps[2], first)
    np.testing.assert_allclose(maps[3], first / 2 + second / 2)


@pytest.mark.parametrize("bad", [np.full((2, 2), np.nan), -np.ones((2, 2)), np.ones(3)])
def test_attention_that_is_none(bad):
    for scene in scenes_of([plain()], attention=bad):
        with pytest.raises(ValueError, match="attention"):
            Attention().score(scene)


def test_a_query_is_asked_now_and_then_and_its_offset_does_not_matter():
    asked = []

    def similarity(picture, text):
        asked.append((picture.shape, text))
        found = np.full((6, 10), -0.2)
        found[1, 7] = -0.1
        return found

    evidence = QueryRelevance(similarity, "a sign", every_s=0.5)
    found = peak_of(evidence, [plain()] * 31)  # one second
    assert asked == [((SIZE[1], SIZE[0], 3), "a sign")] * 3  # at 0, 0.5 and 1 s
    assert len(set(found)) == 1
    np.testing.assert_allclose(found[0], (0.75, 0.25))


@pytest.mark.parametrize("answer", [np.zeros(3), np.full((2, 2), np.inf), np.zeros((0, 2))])
def test_a_query_without_a_map(answer):
    for scene in scenes_of([plain()]):
        with pytest.raises(ValueError, match="similarity to 'x' has shape"):
            QueryRelevance(lambda picture, text: answer, "x").score(scene)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Changes(decay_s=0), "decay_s is 0"),
        (lambda: Saliency(longest=0), "longest is 0"),
        (lambda: Attention(keep=1), "keep is 1"),
        (lambda: QueryRelevance(lambda p, t: p, "  "), "query is empty"),
        (lambda: QueryRelevance(lambda p, t: p, "x", every_s=-1), "every_s is -1"),
        (lambda: ColourTarget((2, 0, 0)), "rgb is"),
        (lambda: ColourTarget((1, 0, 0), tolerance=0), "tolerance is 0"),
        (lambda: TemplateTarget(np.zeros((2, 2))), "template of shape"),
        (lambda: TemplateTarget(np.zeros((9, 9))), "template is flat"),
        (lambda: TemplateTarget(np.eye(9), least=1), "least is 1"),
        (lambda: ScoreMap(-np.ones((2, 2), np.float32), (0.5, 0.5)), "negative or not finite"),
    ],
)
def test_evidence_that_cannot_be(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_a_template_larger_than_the_frame_is_refused(rng):
    thing = rng.integers(0, 256, (300, 400), dtype=np.uint8)
    for scene in scenes_of([plain()]):
        with pytest.raises(ValueError, match="template of 400 x 300 for a frame of 320 x 192"):
            TemplateTarget(thing).score(scene)


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (333, 17)])
@pytest.mark.parametrize("evidence", [Changes, Saliency, lambda: ColourTarget((0.35, 0.35, 0.35))])
def test_frames_of_any_size_and_channels_are_scored(size, evidence):
    frames = [plain(size)[..., :1], with_square((size[0] / 2, size[1] / 2), side=4, size=size)[..., :1]]
    peaks = Peaks(evidence())
    looks = [peaks.look(scene) for scene in scenes_of([np.ascontiguousarray(frame) for frame in frames])]
    assert ((places(looks) >= 0) & (places(looks) <= 1)).all()
