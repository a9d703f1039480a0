"""Measure motion sources: endpoint error on pairs with known flow, time, and the codec against DIS.

    python benchmarks/flow.py --data FOLDER          # results/flow.json and results/flow.md

Needs `pip install "texvlm[flow]"` and a folder with `flow/*.flo` (the Middlebury pairs) and clips. One
thread. Ground truth is the flow from frame 10 to frame 11; a backward field is measured with frame 10
as the new frame and frame 11 as the reference. Errors are over the known pixels, and over cells of 16
texels half of which are known (the truth there is the mean of what is known).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, TypeVar

import cv2
import numba
import numpy as np
from numpy.typing import NDArray

from texvlm import Engine, open_source
from texvlm.bench.machine import load_average, probe_machine, source_commit
from texvlm.motion import BlockMatcher, CodecMotion, DisFlow, Moment, MotionField, camera_motion, moment_of

CELL = (16, 16)
PRESETS = ("ultrafast", "fast", "medium")
UNKNOWN = 1e9
"""Flow of larger magnitude marks unknown pixels in .flo files."""

WARM_UP = 5
"""Frames of a clip that are not timed."""

CAMERA_FROM = "DisFlow, ultrafast, checked"
CLIP, CODEC_CLIP = "moving_park_1080p.mp4", "moving_highway_dashcam.mp4"
Picture = NDArray[np.uint8]
Result = TypeVar("Result")


def read_flo(path: Path) -> MotionField:
    """A .flo file: magic number, width, height, then (dx, dy) row by row."""
    width, height = np.fromfile(path, np.int32, 2, offset=4)
    flow = np.fromfile(path, np.float32, offset=12).reshape(height, width, 2)
    known = (np.abs(flow) < UNKNOWN).all(axis=-1)
    return MotionField(np.where(known[..., None], flow, 0), known, (int(width), int(height)), (1, 1), "truth")


def mip(picture: Picture, level: int) -> Picture:
    """A mip level of a gray picture: means rounded half up, the edge going on."""
    unit = 2**level
    padded = np.pad(picture, [(0, -side % unit) for side in picture.shape], mode="edge").astype(np.float64)
    blocks = padded.reshape(padded.shape[0] // unit, unit, padded.shape[1] // unit, unit)
    return np.floor(blocks.mean(axis=(1, 3)) + 0.5).astype(np.uint8)


def errors(fine: MotionField, cells: MotionField, truth: MotionField) -> dict[str, float]:
    """Mean endpoint errors: of the fine field over known pixels, of the other over known cells, and over valid ones."""
    dense, known = fine.at(truth.centres())[0], truth.resampled(CELL)
    valid = cells.valid & known.valid
    off = np.linalg.norm(cells.flow - known.flow, axis=-1)
    return {
        "pixels": round(float(np.linalg.norm(dense - truth.flow, axis=-1)[truth.valid].mean()), 3),
        "cells": round(float(off[known.valid].mean()), 3),
        "valid_cells": round(float(off[valid].mean()), 3),
        "valid_share": round(float(valid.sum() / known.valid.sum()), 3),
    }


Call = Callable[[Picture, Picture], MotionField]
"""(new, reference), both level 0."""


def methods() -> Iterator[tuple[str, Call, Call]]:
    """Of everything that is compared: its name, the field as fine as it gets, and the timed call for 16-texel cells."""
    for preset in PRESETS:
        plain = cv2.DISOpticalFlow.create(getattr(cv2, f"DISOPTICAL_FLOW_PRESET_{preset.upper()}"))

        def full(new: Picture, reference: Picture, plain: Any = plain) -> MotionField:
            flow = plain.calc(new, reference, None)
            size = (new.shape[1], new.shape[0])
            return MotionField(flow, np.ones(flow.shape[:2], np.bool_), size, (1, 1), "dis")

        yield f"OpenCV DIS, {preset}, full resolution", full, lambda *pair, full=full: full(*pair).resampled(CELL)
    for level in (0, 1, 2):
        for preset in PRESETS[:2]:
            fine = _on_level(DisFlow(preset=preset, cell=None, check=False), level)
            for check in (False, True):
                ours = DisFlow(preset=preset, cell=CELL, check=check)
                name = f"DisFlow, {preset}, level {level}, {'checked' if check else 'unchecked'}"
                yield name, fine, _on_level(ours, level)

    for check in (False, True):
        blocks = BlockMatcher(patch=16, check=check)
        yield f"BlockMatcher, patch 16, {'checked' if check else 'unchecked'}", blocks.between, blocks.between

    def still(new: Picture, reference: Picture) -> MotionField:
        return MotionField.zero((new.shape[1], new.shape[0]), cell=CELL)

    yield "nothing moved", still, still


def _on_level(flow: DisFlow, level: int) -> Call:
    """The call on one mip level. Making it is not timed: an engine has it."""
    kept: dict[int, tuple[Picture, Picture]] = {}

    def made(picture: Picture) -> Picture:
        if id(picture) not in kept:
            kept[id(picture)] = picture, mip(picture, level)
        return kept[id(picture)][1]

    def call(new: Picture, reference: Picture) -> MotionField:
        return flow.between(made(new), made(reference), size=(new.shape[1], new.shape[0]))

    return call


def timed(call: Callable[[], Result]) -> tuple[Result, tuple[float, float]]:
    """What a call returns, and its seconds: of wall time, and of this process' processor time."""
    wall, cpu = perf_counter(), process_time()
    result = call()
    return result, (perf_counter() - wall, process_time() - cpu)


def medians(times: list[tuple[float, float]]) -> dict[str, float]:
    """Of times as `timed` gives them, milliseconds."""
    wall, cpu = np.median(times, axis=0) * 1e3
    return {"ms": round(float(wall), 3), "cpu_ms": round(float(cpu), 3)}


def on_pairs(folder: Path, rounds: int) -> list[dict[str, Any]]:
    """Error and time of every method on every pair."""
    rows = []
    for path in sorted(folder.glob("*_flow10.flo")):
        name = path.name.removesuffix("_flow10.flo")
        truth = read_flo(path)
        new, reference = (cv2.imread(str(folder / f"{name}_frame{n}.png"), cv2.IMREAD_GRAYSCALE) for n in (10, 11))
        for method, fine, call in methods():
            found = errors(fine(new, reference), call(new, reference), truth)
            times = [timed(lambda call=call, pair=(new, reference): call(*pair))[1] for _ in range(rounds)]
            rows.append({"pair": name, "size": list(truth.size), "method": method, **found})
            rows[-1] |= medians(times)
    return rows


def moments(clip: Path, count: int) -> Iterator[Callable[[], Moment]]:
    """The first frames of a clip, resident, with what their codec says: what makes a moment of each."""
    with open_source(clip, motion_vectors=True) as source, Engine(backend="cpu") as engine:
        for _, frame in zip(range(count), source, strict=False):
            engine.submit(frame)
            yield partial(moment_of, engine, frame=frame)


def on_clip(clip: Path, count: int) -> list[dict[str, Any]]:
    """Milliseconds a frame of each motion source, reading the level and making the gray picture included."""
    sources: dict[str, Any] = {
        f"DisFlow, {preset}, {'checked' if check else 'unchecked'}": DisFlow(preset=preset, check=check)
        for preset in ("ultrafast", "fast")
        for check in (False, True)
    }
    sources |= {
        f"BlockMatcher, patch {patch}, {'checked' if check else 'unchecked'}": BlockMatcher(patch=patch, check=check)
        for patch in (16, 32)
        for check in (False, True)
    }
    sources |= {"CodecMotion": CodecMotion(), "CodecMotion, not judged": CodecMotion(judge=False)}
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in (*sources, "camera_motion")}
    shares: dict[str, list[float]] = {name: [] for name in spent}
    for moment in moments(clip, count):
        for name, measure in sources.items():
            field, spent_now = timed(lambda measure=measure, moment=moment: measure(moment()))
            spent[name].append(spent_now)
            if field is None:
                continue
            shares[name].append(field.valid_share)
            if name == CAMERA_FROM:
                camera, spent_now = timed(lambda field=field: camera_motion(field))
                spent["camera_motion"].append(spent_now)
                shares["camera_motion"].append(camera.share)
    return [
        {
            "clip": clip.name,
            "method": name,
            "frames": len(times),
            **medians(times[WARM_UP:]),
            "valid_share": round(float(np.mean(shares[name])), 3),
        }
        for name, times in spent.items()
    ]


def codec_against_dis(clip: Path, count: int) -> dict[str, Any]:
    """How far the codec's flow lies from DIS, over cells that both call valid."""
    dis, codec = DisFlow(preset="fast"), CodecMotion()
    apart, moving, speeds, shares, unknown = [], [], [], [], 0
    for moment in moments(clip, count):
        flow, vectors = dis(moment()), codec(moment())
        if flow is None or vectors is None:
            continue
        if not vectors.valid.any():
            unknown += 1
            continue
        both = flow.valid & vectors.valid
        off = np.linalg.norm(flow.flow - vectors.flow, axis=-1)
        apart.append(off[both])
        moving.append(off[both & (flow.speed > 1)])
        speeds.append(flow.speed[both & (flow.speed > 1)])
        shares.append(both.mean())
    return {
        "clip": clip.name,
        "frames": count,
        "frames_without_vectors": unknown,
        "share_of_cells_valid_in_both": round(float(np.mean(shares)), 3),
        "median_difference_texels": round(float(np.median(np.concatenate(apart))), 3),
        "median_difference_where_moving_texels": round(float(np.median(np.concatenate(moving))), 3),
        "median_speed_where_moving_texels": round(float(np.median(np.concatenate(speeds))), 3),
    }


def markdown(report: dict[str, Any]) -> str:
    """The tables."""
    machine = report["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    pairs = sorted({row["pair"] for row in report["pairs"]})
    lines = [
        "# Motion: error and time",
        "",
        f"{machine['cpu']}, {machine['cores']} cores, one thread; Python {machine['python']}, {packages}; commit "
        f"{report['commit']}, {report['date'][:10]}; `{report['command']}`; "
        f"load average before: {report['load_before']}.",
        "",
        "Mean endpoint error, texels: known pixels / 16-texel cells / those of them called valid (their share).",
        "Time is that of the field of cells: of the wall (and of the processor, which a busy machine changes less).",
        "DisFlow gets its mip level ready, as an engine has it; BlockMatcher makes all levels of both pictures here.",
        "",
        "| method | " + " | ".join(pairs) + " | ms (processor), median of the pairs |",
        "| --- |" + " --- |" * (len(pairs) + 1),
    ]
    for method in dict.fromkeys(row["method"] for row in report["pairs"]):
        rows = [row for row in report["pairs"] if row["method"] == method]
        cells = [
            f"{row['pixels']:.2f} / {row['cells']:.2f} / {row['valid_cells']:.2f} ({row['valid_share']:.0%})"
            for row in rows
        ]
        ms, cpu = (float(np.median([row[key] for row in rows])) for key in ("ms", "cpu_ms"))
        lines.append(f"| {method} | {' | '.join(cells)} | {ms:.2f} ({cpu:.2f}) |")
    lines += ["", f"| {CLIP}, one frame | ms (processor) | cells valid |", "| --- | --- | --- |"]
    for row in report["clip"]:
        lines.append(f"| {row['method']} | {row['ms']:.2f} ({row['cpu_ms']:.2f}) | {row['valid_share']:.0%} |")
    codec = report["codec_against_dis"]
    lines += [
        "",
        f"{codec['clip']}, {codec['frames']} frames: the codec's vectors lie {codec['median_difference_texels']} "
        f"texels (median) from DIS over the {codec['share_of_cells_valid_in_both']:.0%} of cells that both call valid, "
        f"and {codec['median_difference_where_moving_texels']} where content moves by more than one texel (median "
        f"speed {codec['median_speed_where_moving_texels']}); frames without any: {codec['frames_without_vectors']}.",
        "",
        "Of camera_motion the share is that of cells which move with the camera. Flow networks of the RAFT class are",
        "not in the table: their weights are downloads, and this script downloads nothing.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with flow/ and the clips")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "flow.json")
    parser.add_argument("--frames", type=int, default=60, help="of each clip")
    parser.add_argument("--rounds", type=int, default=20, help="timed calls of each method on each pair")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    numba.set_num_threads(1)
    report = {
        "machine": probe_machine().model_dump(),
        "commit": source_commit(),
        "command": "python benchmarks/flow.py --data DATA",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "load_before": load_average(),
        "pairs": on_pairs(arguments.data / "flow", arguments.rounds),
        "clip": on_clip(arguments.data / CLIP, arguments.frames),
        "codec_against_dis": codec_against_dis(arguments.data / CODEC_CLIP, arguments.frames),
        "load_after": load_average(),
    }
    arguments.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    text = markdown(report)
    arguments.out.with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
