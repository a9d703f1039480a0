"""Tokens kept on the device: exactly those that the host would sample again are sampled again."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sampler_rig import Device, open_device, picture, scattered

from texvlm.backends.base import Normalisation
from texvlm.backends.cuda.sampler import KeptTokens
from texvlm.backends.footprint import row_changes, stale_rows
from texvlm.layouts.table import TOKEN_RECORD, make_table, pad_table
from texvlm.pyramid import TextureSpec
from texvlm.regions import tile_grid


@pytest.fixture
def device():
    yield from open_device()


@pytest.fixture
def fused_device():
    """Products and sums contracted, as compilers for devices do unless told otherwise."""
    yield from open_device(fused=True)


class Tracked:
    """Kept tokens on the device beside the host's account of the same updates."""

    def __init__(self, device: Device, spec: TextureSpec, rng: np.random.Generator, rows: int) -> None:
        self.device, self.rng = device, rng
        sizes = [tuple(rng.integers(1, 97, 2).tolist()) for _ in range(spec.layers)]
        self.frames = {layer: picture(rng, size) for layer, size in enumerate(sizes)}
        self.texture = device.fill(spec, self.frames)
        self.kept = KeptTokens.fresh(torch.full((rows, 3, 16, 16), 7.0))
        self.table: np.ndarray | None = None
        self.seen = [0] * spec.layers

    def update(self, layer: int, share: float) -> None:
        """Change some tiles of a layer, as `refresh` and the tail note it on the device."""
        frame = self.frames[layer]
        columns, rows = tile_grid(frame.shape[1::-1])
        tiles = self.rng.random((rows, columns)) < share
        dirty = np.kron(tiles, np.ones((16, 16), np.bool_))[: frame.shape[0], : frame.shape[1], None]
        self.frames[layer] = np.where(dirty, picture(self.rng, frame.shape[1::-1]), frame)
        self.device.put(self.texture, layer, self.frames[layer])
        self.texture.versions[layer, :rows, :columns][torch.from_numpy(tiles)] = self.texture.clock[layer] + 1
        self.texture.clock[layer] += 1

    def expected_dirty(self, table: np.ndarray) -> np.ndarray:
        """What the host would sample again."""
        if self.table is None:
            return table["layer"] >= 0
        changed = row_changes(table, self.table)
        for layer, seen in enumerate(self.seen):
            stale = stale_rows(
                table,
                self.texture.versions.numpy(),
                seen,
                frame_sizes=self.texture.frame_sizes.numpy(),
                patch=16,
                levels=self.texture.spec.levels,
            )
            changed |= stale & (table["layer"] == layer)
        return changed & (table["layer"] >= 0)

    def resample(self, table: np.ndarray) -> None:
        """Sample again, and compare what was done with the host's account, and the result with a full sampling."""
        expected = self.expected_dirty(table)
        before = self.device.totals.clone()
        stream, totals = self.device.driver.current_stream(), self.device.totals
        dirty = self.device.samplers["hardware"].resample(
            self.texture, table, self.kept, Normalisation.identity(3), stream=stream, totals=totals
        )
        np.testing.assert_array_equal(dirty.numpy(), expected)
        real = int((table["layer"] >= 0).sum())
        done = int(expected.sum())
        assert (totals - before).tolist() == [0, 0, 0, done, real - done]
        assert torch.equal(self.kept.pixels, self.device.sample(self.texture, table, "hardware"))
        self.table, self.seen = table, self.texture.clock.tolist()


@given(st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_exactly_the_tokens_that_changed_are_sampled_again(device, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1), label="seed"))
    tracked = Tracked(device, TextureSpec((96, 96), layers=2), rng, 24)
    aligned = data.draw(st.booleans(), label="aligned")

    def rows_of(layer: int, count: int) -> np.ndarray:
        size = tracked.frames[layer].shape[1::-1]
        table = scattered(rng, size, count)
        if aligned:  # footprints then end exactly between tiles
            table["side"] = 16 * 2.0 ** rng.integers(0, 4, count)
            table["x"], table["y"] = (table["side"] * (0.5 + rng.integers(-1, 4, count)) for _ in range(2))
        table["layer"] = layer
        return table

    table = pad_table(np.concatenate([rows_of(0, 11), rows_of(1, 11)]), 24)
    tracked.resample(table)
    for _ in range(data.draw(st.integers(1, 5), label="steps")):
        for layer in (0, 1):
            if data.draw(st.booleans(), label=f"layer {layer}"):
                tracked.update(layer, data.draw(st.sampled_from([0, 0.05, 0.5]), label="share"))
        if data.draw(st.booleans(), label="look elsewhere"):
            table = table.copy()
            moved = rng.random(24) < 0.3
            table[moved] = pad_table(np.concatenate([rows_of(0, 11), rows_of(1, 11)]), 24)[moved]
            if data.draw(st.booleans(), label="less"):
                table[:3] = np.array((0, 0, 1, -1, 0, 0), TOKEN_RECORD)
        tracked.resample(table)


@pytest.mark.parametrize("kind", ["device", "fused_device"])
def test_footprints_equal_the_hosts_to_the_tile(request, rng, kind):
    # one tile at a time is newer: whatever is off by one shows
    device, size, patch = request.getfixturevalue(kind), (200, 130), 16
    frame = picture(rng, size)
    texture = device.fill(TextureSpec(size), {0: frame})
    table = np.concatenate([scattered(rng, size, 60), make_table([8, 24, 64], [8, 40, 64], [16, 16, 128], size=size)])
    kept = KeptTokens.fresh(torch.zeros((len(table), 3, 16, 16)))
    sampler, common = device.samplers["exact"], {"stream": 0, "totals": device.totals}
    sampler.resample(texture, table, kept, Normalisation.identity(3), **common)
    columns, rows = tile_grid(size)
    for y, x in np.ndindex(rows, columns):
        texture.clock[0] += 1
        texture.versions[0, y, x] = texture.clock[0]
        dirty = sampler.resample(texture, table, kept, Normalisation.identity(3), **common)
        expected = stale_rows(
            table,
            texture.versions.numpy(),
            int(texture.clock[0]) - 1,
            frame_sizes=texture.frame_sizes.numpy(),
            patch=patch,
            levels=texture.spec.levels,
        )
        np.testing.assert_array_equal(dirty.numpy(), expected, err_msg=f"tile {(y, x)}")


def test_a_captured_launch_decides_anew_at_each_replay(device, rng):
    tracked = Tracked(device, TextureSpec((64, 64)), rng, 20)
    table = scattered(rng, tracked.frames[0].shape[1::-1], 20)
    tracked.resample(table)
    on_device = torch.from_numpy(table.view(np.int32).reshape(-1, 6))
    driver, sampler = device.driver, device.samplers["hardware"]
    stream, dirty = driver.create_stream(), torch.zeros(20, dtype=torch.bool)
    driver.begin_capture(stream)
    sampler.resample(
        tracked.texture,
        on_device,
        tracked.kept,
        Normalisation.identity(3),
        stream=stream,
        totals=device.totals,
        dirty=dirty,
    )
    with pytest.raises(ValueError, match="cannot be part of a captured graph"):
        sampler.on_device(table, stream)
    graph = driver.end_capture(stream)
    executable = driver.instantiate(graph)
    for share in (1.0, 0.0, 0.3):
        tracked.update(0, share)
        expected = tracked.expected_dirty(table)
        driver.launch_graph(executable, stream)
        driver.synchronize(stream)
        np.testing.assert_array_equal(dirty.numpy(), expected)
        assert torch.equal(tracked.kept.pixels, device.sample(tracked.texture, table, "hardware"))
        tracked.seen = tracked.texture.clock.tolist()
    driver.destroy_executable(executable)
    driver.destroy_graph(graph)
    driver.destroy_stream(stream)


def test_as_many_rows_as_are_kept(device, rng):
    texture = device.fill(TextureSpec((32, 32)), {0: picture(rng, (32, 32))})
    kept = KeptTokens.fresh(torch.zeros((3, 3, 16, 16)))
    with pytest.raises(ValueError, match="table of 2 rows for 3 kept tokens"):
        device.samplers["exact"].resample(
            texture, scattered(rng, (32, 32), 2), kept, Normalisation.identity(3), stream=0, totals=device.totals
        )
