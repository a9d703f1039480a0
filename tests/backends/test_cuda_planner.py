"""Tables planned on the emulated device equal those of the host, row for row."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cuda_device import open_host_device
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from required import unavailable

from texvlm.backends.cuda.kernels import Kernels
from texvlm.backends.cuda.planner import KEPT_PLACEMENTS, Planner
from texvlm.errors import BackendUnavailable
from texvlm.layouts import (
    PADDING_LAYER,
    RING_PRESETS,
    TOKEN_RECORD,
    Focus,
    GlobalAndCrops,
    LogPolar,
    Rings,
    Sunflower,
    UniformGrid,
    make_layout,
    pad_table,
)
from texvlm.layouts.base import to_texels

SIZES = st.tuples(st.integers(1, 2000), st.integers(1, 2000))
ANYWHERE = st.floats(-3, 4, width=32)


class Device:
    """A planner on the emulated device; `fused` contracts products and sums, as compilers for devices do."""

    def __init__(self, *, fused: bool) -> None:
        try:
            self.driver, compiler = open_host_device(fused=fused)
        except BackendUnavailable as refusal:
            unavailable("cuda-host", str(refusal))
        self.kernels = Kernels(self.driver, compiler)
        self.planner = Planner(self.driver, self.kernels)

    def plan(self, layout, sizes, fixations, layers=None, weights=None, dtype=np.float32) -> np.ndarray:
        """TOKEN_RECORD, (views, tokens)."""
        layers = range(len(sizes)) if layers is None else layers
        points = torch.from_numpy(np.asarray(fixations, dtype))
        rows = self.planner.plan(layout, sizes, list(layers), points, weights, stream=self.driver.current_stream())
        assert rows.dtype == torch.int32
        return rows.numpy().view(TOKEN_RECORD)[..., 0]

    def close(self) -> None:
        self.planner.close()
        self.kernels.close()
        assert self.driver.leaks() == []
        assert self.driver.violations == []


@pytest.fixture(params=["plain", "fused"])
def device(request):
    opened = Device(fused=request.param == "fused")
    yield opened
    opened.close()


def on_host(layout, sizes, fixations, layers=None, dtype=np.float32) -> np.ndarray:
    """What the engine would plan, (views, tokens)."""
    tables = []
    for index, (size, points) in enumerate(zip(sizes, np.asarray(fixations, dtype), strict=True)):
        table = layout.plan(size, Focus(to_texels(points.astype(np.float64), size)))
        layer = index if layers is None else layers[index]
        table["layer"][table["layer"] != PADDING_LAYER] = layer
        tables.append(table)
    most = max(map(len, tables))
    return np.stack([pad_table(table, most) for table in tables])


def assert_same_rows(got: np.ndarray, expected: np.ndarray) -> None:
    """Every bit of every row."""
    assert got.shape == expected.shape
    different = np.argwhere(got.view(np.int32).reshape(-1, 6) != expected.view(np.int32).reshape(-1, 6))
    first = different[0][0] if len(different) else 0
    assert not len(different), (
        f"{len(different)} fields differ; row {first} is {got.reshape(-1)[first]}, not {expected.reshape(-1)[first]}"
    )


LAYOUTS = [
    UniformGrid(),
    UniformGrid(side=37),
    UniformGrid(tokens=1),
    *(make_layout(name) for name in RING_PRESETS),
    Rings(scale="frame"),
    Rings(patch=14, scale=0.3, fixations=3),
    GlobalAndCrops(global_tokens=1, crop_grid=3),
    GlobalAndCrops(global_tokens=1, crop_grid=7, crop_side=99.7, fixations=2),
    GlobalAndCrops(global_tokens=1, crop_grid=4, keep_inside=False, patch=14),
    LogPolar(),
    LogPolar(rings=3, wedges=5, e2_deg=0.75, fov_deg=100.0),
]


@given(st.data())
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rigid_layouts_have_the_hosts_bits(device, data):
    layout = data.draw(st.sampled_from(LAYOUTS), label="layout")
    sizes = data.draw(st.lists(SIZES, min_size=1, max_size=3), label="sizes")
    count = getattr(layout, "fixations", 1)
    drawn = st.lists(st.tuples(ANYWHERE, ANYWHERE), min_size=count, max_size=count)
    fixations = [data.draw(drawn, label="fixations") for _ in sizes]
    dtype = data.draw(st.sampled_from([np.float16, np.float32, np.float64]), label="dtype")
    got = device.plan(layout, sizes, fixations, dtype=dtype)
    assert_same_rows(got, on_host(layout, sizes, fixations, dtype=dtype))


def test_layouts_keep_an_exact_count_with_padding(device):
    layout, sizes = GlobalAndCrops(), [(640, 480), (1920, 1080), (333, 217)]
    fixations = [[[0.1, 0.9]], [[0.5, 0.5]], [[1, 0]]]
    got = device.plan(layout, sizes, fixations, layers=[4, 0, 2])
    expected = on_host(layout, sizes, fixations, layers=[4, 0, 2])
    assert (expected["layer"] == PADDING_LAYER).any()
    assert_same_rows(got, expected)


def test_frames_of_several_sizes_are_filled_up(device):
    sizes = [(64, 64), (160, 96), (64, 64), (16, 16)]
    got = device.plan(UniformGrid(), sizes, np.zeros((4, 1, 2)))
    assert got.shape == (4, 60)
    assert_same_rows(got, on_host(UniformGrid(), sizes, np.zeros((4, 1, 2))))


@pytest.mark.parametrize("point", [(1e30, 0.5), (-3e38, 3e38), (0.5, -1e9)])
def test_fixations_far_away_are_brought_nearer(device, point):
    for layout in (Rings(), GlobalAndCrops(), LogPolar()):
        assert_same_rows(device.plan(layout, [(800, 600)], [[point]]), on_host(layout, [(800, 600)], [[point]]))


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("layout", [Rings(fixations=2), GlobalAndCrops(fixations=2), Sunflower(), UniformGrid()])
def test_a_fixation_that_is_not_finite_gives_padding(device, layout, broken):
    count = getattr(layout, "fixations", 1)
    fixations = np.full((3, count, 2), 0.5)
    fixations[1, count - 1, 1] = broken
    got = device.plan(layout, [(640, 480)] * 3, fixations)
    assert_same_rows(got[1:2], pad_table(got[1, :0], got.shape[1])[None])
    fixations[1] = 0.5
    whole = device.plan(layout, [(640, 480)] * 3, fixations)
    assert (whole["layer"] == np.arange(3)[:, None]).any(axis=1).all()
    assert_same_rows(got[::2], whole[::2])


@given(st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_sunflowers_have_the_hosts_places(device, data):
    sizes = data.draw(st.lists(SIZES, min_size=1, max_size=2), label="sizes")
    layout = Sunflower(
        tokens=data.draw(st.sampled_from([1, 2, 64, 268, 300]), label="tokens"),
        fov_deg=data.draw(st.sampled_from([30.0, 60.0, 120.0]), label="fov_deg"),
        e2_deg=data.draw(st.sampled_from([0.75, 2.0]), label="e2_deg"),
    )
    fixations = [[data.draw(st.tuples(ANYWHERE, ANYWHERE), label="fixation")] for _ in sizes]
    got, expected = device.plan(layout, sizes, fixations), on_host(layout, sizes, fixations)
    np.testing.assert_array_equal(got["layer"], expected["layer"])
    np.testing.assert_array_equal(got["region"], expected["region"])
    # where mathematical functions differ in their last bit, a place may differ in a float's last bits
    reach = np.array([[max(size)] for size in sizes])
    for name in ("x", "y", "side"):
        assert (np.abs(got[name].astype(np.float64) - expected[name]) <= 2.0**-22 * reach).all(), name
    assert (np.abs(got["valid"] - expected["valid"]) <= 1e-5).all()


def test_templates_are_sent_once(device):
    def copies() -> int:
        return sum(name == "copy" for name, _ in device.driver.calls)

    device.plan(Rings(), [(640, 480)] * 2, np.full((2, 1, 2), 0.5))
    before = copies()
    device.plan(Rings(), [(640, 480)] * 2, np.full((2, 1, 2), 0.25))
    assert copies() == before
    for width in range(1, KEPT_PLACEMENTS + 2):
        device.plan(UniformGrid(), [(width, 8)], np.zeros((1, 1, 2)))
    before = copies()
    device.plan(Rings(), [(640, 480)] * 2, np.full((2, 1, 2), 0.25))
    assert copies() > before  # given up, and made again


def test_a_captured_launch_plans_for_the_fixations_of_each_replay(device):
    driver, planner, layout = device.driver, device.planner, Rings()
    fixations = torch.full((1, 1, 2), 0.5)
    stream = driver.create_stream()
    planner.plan(layout, [(640, 480)], [0], fixations, stream=0)  # compiles, and sends what does not change
    driver.begin_capture(stream)
    rows = planner.plan(layout, [(640, 480)], [0], fixations, stream=stream)
    executable = driver.instantiate(graph := driver.end_capture(stream))
    for point in ((0.1, 0.2), (0.9, 0.7)):
        fixations[0, 0] = torch.tensor(point)
        driver.launch_graph(executable, stream)
        driver.synchronize(stream)
        assert_same_rows(rows.numpy().view(TOKEN_RECORD)[..., 0], on_host(layout, [(640, 480)], [[point]]))
    driver.destroy_executable(executable)
    driver.destroy_graph(graph)
    driver.destroy_stream(stream)


def test_what_the_host_refuses_is_refused(device):
    half = [[[0.5, 0.5]]]
    with pytest.raises(ValueError, match="this rings layout serves 2 fixations, not 1"):
        device.plan(Rings(fixations=2), [(64, 64)], half)
    with pytest.raises(ValueError, match="the sunflower layout serves 1 fixation, not 2"):
        device.plan(Sunflower(), [(64, 64)], [[[0.5, 0.5]] * 2])
    with pytest.raises(ValueError, match="10000 tokens are more than a 64 x 64 frame has texels"):
        device.plan(UniformGrid(tokens=10000), [(64, 64)], half)
    with pytest.raises(ValueError, match=r"fixations of shape \(1, 1, 2\), 2 layers and 2 frame sizes"):
        device.plan(Rings(), [(64, 64)] * 2, half)


def test_a_layout_of_the_users_own_plans_on_the_host(device):
    class Own:
        patch, tokens = 16, 1

        def plan(self, size, focus):
            return UniformGrid().plan(size, focus)

    with pytest.raises(TypeError, match="plans on the host"):
        device.plan(Own(), [(64, 64)], [[[0.5, 0.5]]])


def test_the_quadtree_is_planned_too(device):
    layout = make_layout("quadtree", tokens=64)
    fixations = [[[0.25, 0.5]], [[0.75, 0.1]]]
    sizes = [(320, 240), (200, 333)]
    assert_same_rows(device.plan(layout, sizes, fixations), on_host(layout, sizes, fixations))
