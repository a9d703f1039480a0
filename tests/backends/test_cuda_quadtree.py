"""The quadtree kernel plans the rows of `Quadtree.plan`: every bit of them, for any frame, focus and budget."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from cuda_device import open_host_device
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from required import REQUIRED

from texvlm.backends.cuda.api import Driver
from texvlm.backends.cuda.compiler import NvrtcCompiler
from texvlm.backends.cuda.kernels import Kernels
from texvlm.backends.cuda.opening import open_driver
from texvlm.backends.cuda.quadtree import (
    SHARED_TOKENS,
    VIEW_ROOM,
    WEIGHT_ROOM,
    plan_quadtree,
    prepare_quadtree,
    variants,
)
from texvlm.layouts import Focus, Quadtree, Table
from texvlm.layouts.base import to_texels
from texvlm.layouts.table import PADDING_LAYER, TABLE_FIELDS, TOKEN_RECORD, pad_table
from texvlm.pyramid import MAX_SIDE

USUAL_SIZES = [(1920, 1080), (1280, 720), (1024, 768), (1024, 1024), (640, 480), (1080, 1920), (3840, 2160)]


@dataclass(frozen=True, slots=True)
class Device:
    """Something that runs kernels, and kernels for it."""

    driver: Driver
    kernels: Kernels

    def plan(self, layout, sizes, fixations, weights=None, layers=None) -> Table:
        """Tables of all views, (views, tokens)."""
        places = torch.as_tensor(fixations).to(self.driver.device)
        layers = [0] * len(sizes) if layers is None else layers
        stream = self.driver.current_stream()
        rows = plan_quadtree(self.driver, self.kernels, layout, sizes, layers, places, weights, stream=stream)
        assert rows.dtype == torch.int32
        assert rows.shape == (len(sizes), layout.tokens, len(TABLE_FIELDS))
        return table_of(rows)


def table_of(rows: torch.Tensor) -> Table:
    return rows.cpu().numpy().view(TOKEN_RECORD)[..., 0]


def host_plan(layout, size, fixations, weights=None) -> Table:
    places = to_texels(np.asarray(fixations, np.float64), size)
    return layout.plan(size, Focus(places) if weights is None else Focus(places, np.asarray(weights, np.float64)))


def assert_same_rows(found: Table, expected: Table) -> None:
    """Equal bits, and if not, the first row that is another."""
    found, expected = found.view(np.int32).reshape(-1, 6), expected.view(np.int32).reshape(-1, 6)
    other = np.flatnonzero((found != expected).any(axis=1))
    assert other.size == 0, (
        f"{other.size} of {len(found)} rows differ, row {other[0]} first: "
        f"{found[other[0]].view(TOKEN_RECORD)} is not {expected[other[0]].view(TOKEN_RECORD)}"
    )


DEVICES = ["as written", "fused"]
if torch.cuda.is_available() or "cuda" in REQUIRED:
    DEVICES.append(pytest.param("cuda", marks=pytest.mark.cuda))


@pytest.fixture(scope="module", params=DEVICES)
def device(request: pytest.FixtureRequest) -> Iterator[Device]:
    """The emulated device, and a GPU if there is one.

    "fused" contracts products and sums wherever the kernel's text allows it, as a compiler for a device may.
    """
    if request.param == "cuda":
        driver: Driver = open_driver()
        kernels = Kernels(driver, NvrtcCompiler(driver.info.architecture))
        yield Device(driver, kernels)
        driver.synchronize(driver.current_stream())
        kernels.close()
        driver.close()
        return
    host, compiler = open_host_device(fused=request.param == "fused")
    kernels = Kernels(host, compiler)
    yield Device(host, kernels)
    kernels.close()
    assert host.leaks() == []
    assert host.violations == []
    host.close()


# --- against the host's planner ---------------------------------------------------------------------------

# Multiples of a sixteenth of the frame make ties, by symmetry; others make none.
PLACES = st.one_of(st.integers(-24, 40).map(lambda n: n / 16), st.floats(-1.5, 2.5), st.floats(-(2.0**127), 2.0**127))
SIDES = st.one_of(st.integers(1, 300), st.integers(1, 12).map(lambda n: 64 * n), st.integers(1, 4000))


@st.composite
def requests(draw: st.DrawFn):
    """A layout, and frame sizes, fixations and weights of several views; most frames fit, others are padded."""
    views = draw(st.integers(1, 3))
    sizes = draw(st.lists(st.tuples(SIDES, SIDES), min_size=views, max_size=views))
    count = draw(st.integers(1, 3))
    fixations = [[[draw(PLACES), draw(PLACES)] for _ in range(count)] for _ in range(views)]
    weights = None
    if draw(st.booleans()):
        weights = np.array([[draw(st.floats(0.01, 50)) for _ in range(count)] for _ in range(views)])
    patch = draw(st.sampled_from([7, 8, 14, 16, 32]))
    min_side = draw(st.sampled_from([None, None, 1, patch / 2, 3 * patch]))
    least = Quadtree(patch=patch, min_side=min_side).least_side
    max_side = draw(st.sampled_from([None, None, least, 2 * least, 9 * least]))
    fewest = 1
    if max_side is not None:
        widest = least * 2 ** math.floor(math.log2(max_side / least))
        fewest = max(math.ceil(w / widest) * math.ceil(h / widest) for w, h in sizes)
    tokens = fewest + draw(st.integers(0, 40) | st.integers(0, 500))
    if tokens > 2 * SHARED_TOKENS:
        max_side, tokens = None, draw(st.integers(SHARED_TOKENS, 2 * SHARED_TOKENS))
    layout = Quadtree(
        tokens=tokens,
        patch=patch,
        fov_deg=draw(st.sampled_from([60.0, 20.0, 150.0])),
        e2_deg=draw(st.sampled_from([2.0, 0.3, 10.0, 1e-6, 1e120])),
        min_side=min_side,
        max_side=max_side,
        small_frames="pad",
    )
    return layout, sizes, np.array(fixations), weights


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(requests())
def test_rows_equal_those_of_the_host(device: Device, request) -> None:
    layout, sizes, fixations, weights = request
    layers = list(range(5, 5 + len(sizes)))
    found = device.plan(layout, sizes, fixations, weights, layers)
    for view, size in enumerate(sizes):
        expected = host_plan(layout, size, fixations[view], None if weights is None else weights[view])
        expected["layer"][expected["layer"] == 0] = layers[view]
        assert_same_rows(found[view], expected)


@pytest.mark.parametrize("size", USUAL_SIZES)
@pytest.mark.parametrize("tokens", [172, 268, SHARED_TOKENS, SHARED_TOKENS + 1, 1024])
def test_usual_frames_and_budgets(device: Device, tokens: int, size: tuple[int, int], rng: np.random.Generator) -> None:
    layout = Quadtree(tokens=tokens, small_frames="pad")
    fixations = np.concatenate([[[0.5, 0.5], [0.0, 0.0], [0.25, 0.75], [1.0, 0.5]], rng.uniform(-0.2, 1.2, (8, 2))])
    found = device.plan(layout, [size] * 12, fixations[:, None].astype(np.float32))
    for view in range(12):
        assert_same_rows(found[view], host_plan(layout, size, fixations[view, None].astype(np.float32)))


# Each of these once told a planner with one rule changed from a right one, where thousands of others did not.
TELLING = [
    (Quadtree(tokens=110, patch=8, max_side=16), (144, 172), [[0.25, -0.25], [-0.25, -0.125]]),  # no merge above it
    (Quadtree(tokens=5, patch=8), (39, 136), [[0.16607974372667217, 0.08541243442809032]]),  # merges keep 2:1 below
    (Quadtree(tokens=30, patch=8, e2_deg=0.2), (256, 256), [[0.375, 0.375]]),  # the age of a chain's members
    (Quadtree(tokens=9, patch=8), (52, 151), [[0.375, 1.125]]),  # leaves that a merge cut off
]


@pytest.mark.parametrize(("layout", "size", "fixations"), TELLING)
def test_telling_cases(device: Device, layout: Quadtree, size: tuple[int, int], fixations: list[list[float]]) -> None:
    found = device.plan(layout, [size], np.array([fixations]))
    assert_same_rows(found[0], host_plan(layout, size, fixations))


@pytest.mark.parametrize("seed", range(4))
def test_ties_and_residues(device: Device, seed: int) -> None:
    """Symmetric frames and fixations, where age decides; budgets near the limits, which have to be settled."""
    rng = np.random.default_rng(seed)
    for _ in range(12):
        unit = int(rng.choice([1, 32, 64]))
        sizes = [(unit * int(a), unit * int(b)) for a, b in rng.integers(1, 200 // unit + 8, (8, 2))]
        widest = int(rng.choice([0, 16, 32, 64]))
        fewest = max(math.ceil(w / widest) * math.ceil(h / widest) for w, h in sizes) if widest else 1
        layout = Quadtree(
            tokens=fewest + int(rng.integers(0, 150)), patch=8, max_side=widest or None, small_frames="pad"
        )
        fixations = rng.integers(-2, 11, (8, 1, 2)) / 8
        found = device.plan(layout, sizes, fixations)
        for view, size in enumerate(sizes):
            assert_same_rows(found[view], host_plan(layout, size, fixations[view]))


def test_the_largest_frame_with_the_least_squares(device: Device) -> None:
    layout = Quadtree(tokens=900, min_side=1, e2_deg=0.1)
    size = (MAX_SIDE, MAX_SIDE)  # 2**14 cells along an axis: every bit of a packed place is in use
    fixations = np.array([[[1.0, 1.0], [0.0, 0.999]]])
    found = device.plan(layout, [size], fixations)
    assert found["side"].min() == 1
    assert_same_rows(found[0], host_plan(layout, size, fixations[0]))


# --- weights, views, refusals -----------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, WEIGHT_ROOM, WEIGHT_ROOM + 1])
def test_weights_of_one_view_and_of_all(device: Device, count: int, rng: np.random.Generator) -> None:
    layout, size = Quadtree(tokens=100), (640, 480)
    fixations = rng.uniform(0, 1, (3, count, 2))
    weights = rng.uniform(0.1, 9, (3, count))
    apart, shared = (
        device.plan(layout, [size] * 3, fixations, weights),
        device.plan(layout, [size] * 3, fixations, weights[1]),
    )
    for view in range(3):
        assert_same_rows(apart[view], host_plan(layout, size, fixations[view], weights[view]))
        assert_same_rows(shared[view], host_plan(layout, size, fixations[view], weights[1]))
    assert not np.array_equal(apart[0], shared[0])


def test_more_views_than_a_launch_takes(device: Device, rng: np.random.Generator) -> None:
    layout = Quadtree(tokens=40)
    views = VIEW_ROOM + 3
    sizes = [(200 + 8 * view, 300) for view in range(views)]
    fixations = rng.uniform(0, 1, (views, 1, 2))
    found = device.plan(layout, sizes, fixations, layers=list(range(views)))
    for view, size in enumerate(sizes):
        expected = host_plan(layout, size, fixations[view])
        expected["layer"][expected["layer"] == 0] = view
        assert_same_rows(found[view], expected)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_fixation_that_is_not_finite_gives_padding_alone(device: Device, bad: float) -> None:
    layout, size = Quadtree(tokens=30), (320, 240)
    fixations = np.full((3, 2, 2), 0.4)
    fixations[1, 1, 1] = bad
    found = device.plan(layout, [size] * 3, fixations)
    assert_same_rows(found[1], pad_table(np.zeros(0, TOKEN_RECORD), 30))
    for view in (0, 2):
        assert_same_rows(found[view], host_plan(layout, size, fixations[view]))


@pytest.mark.parametrize(
    ("layout", "size"),
    [
        (Quadtree(tokens=500), (64, 64)),
        (Quadtree(tokens=3, max_side=32), (640, 480)),
        (Quadtree(), (0, 5)),
        (Quadtree(), (MAX_SIDE + 1, 5)),
    ],
)
def test_sizes_are_refused_as_on_the_host(device: Device, layout: Quadtree, size: tuple[int, int]) -> None:
    with pytest.raises(ValueError) as on_host:  # noqa: PT011 the message is what is compared
        layout.plan(size, Focus(np.zeros((1, 2))))
    with pytest.raises(ValueError) as on_device:  # noqa: PT011
        device.plan(layout, [(640, 480), size], np.full((2, 1, 2), 0.5))
    assert str(on_device.value) == str(on_host.value)


@pytest.mark.parametrize(
    ("shape", "weights", "layers", "words"),
    [
        ((2, 1, 2), None, [0], "1 layers for 2 views"),
        ((1, 1, 2), None, [0, 0], r"fixations of shape \(1, 1, 2\) for 2 views"),
        ((2, 2), None, [0, 0], r"accepted is \(views, k, 2\)"),
        ((2, 0, 2), None, [0, 0], r"accepted is \(views, k, 2\)"),
        ((2, 1, 2), np.ones((3, 1)), [0, 0], r"weights of shape \(3, 1\) for 2 views of 1 fixations"),
        ((2, 2, 2), np.array([1.0, 0.0]), [0, 0], "each must be a finite number above 0"),
        ((2, 2, 2), np.array([1.0, np.inf]), [0, 0], "each must be a finite number above 0"),
    ],
)
def test_shapes_and_weights_are_refused(device: Device, shape, weights, layers, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        device.plan(Quadtree(tokens=20), [(320, 240)] * 2, np.zeros(shape), weights, layers)


def test_fixations_elsewhere_are_refused(device: Device) -> None:
    elsewhere = torch.zeros((1, 1, 2), device="meta")
    with pytest.raises(ValueError, match="fixations lie on meta; this backend reads tensors on"):
        prepare_quadtree(device.driver, device.kernels, Quadtree(), [(640, 480)], [0], elsewhere)


# --- what the host does -----------------------------------------------------------------------------------


@pytest.mark.parametrize("tokens", [60, 2 * SHARED_TOKENS])
def test_a_graph_plans_again_for_the_fixations_of_its_replay(device: Device, tokens: int) -> None:
    driver, layout, size = device.driver, Quadtree(tokens=tokens), (1280, 720)
    fixations = torch.full((1, 1, 2), 0.5, device=driver.device)
    weights = np.ones((1, 1))
    plan = prepare_quadtree(driver, device.kernels, layout, [size], [0], fixations, weights)
    stream = driver.create_stream()
    driver.begin_capture(stream)
    for launch in plan.launches:
        launch.run(stream)
    graph = driver.end_capture(stream)
    executable = driver.instantiate(graph)
    for place in (0.5, 0.1, 0.93):
        fixations.fill_(place)
        driver.synchronize(driver.current_stream())
        driver.launch_graph(executable, stream)
        driver.synchronize(stream)
        assert_same_rows(table_of(plan.rows)[0], host_plan(layout, size, fixations[0].cpu().numpy()))
    driver.destroy_executable(executable)
    driver.destroy_graph(graph)
    driver.destroy_stream(stream)


def test_a_call_is_one_launch_and_no_copy() -> None:
    driver, compiler = open_host_device()
    kernels = Kernels(driver, compiler)
    device = Device(driver, kernels)
    fixations, weights = np.full((32, 3, 2), 0.3, np.float32), np.arange(1.0, 4)
    device.plan(Quadtree(), [(1920, 1080)] * 32, fixations, weights)
    driver.account.calls.clear()
    table = device.plan(Quadtree(), [(1920, 1080)] * 32, fixations, weights)
    assert [name for name, _ in driver.account.calls] == ["launch"]
    assert (table["layer"] != PADDING_LAYER).all()
    kernels.close()
    driver.close()


def test_both_variants_are_declared() -> None:
    assert [dict(definitions)["TEXVLM_SCRATCH"] for _, definitions, _ in variants()] == [0, 1]
