"""Floors, and why a target was missed: only what bytes, launches and registers account for."""

from __future__ import annotations

from texvlm.bench.gpu.report import GpuRow


def explain(row: GpuRow, bytes_per_s: float, launch_us: float) -> str:
    """One line on a row that missed its target; empty for one that did not.

    Args:
        row: with times, bytes and launches filled in.
        bytes_per_s: measured copy bandwidth that the row's floor was taken from.
        launch_us: measured time that one launch adds to a graph.
    """
    if not row.missed or row.target_us is None:
        return ""
    parts = [
        f"{row.ratio:.2f} times the target",
        f"{row.bytes_moved / 1e6:.2f} MB at {bytes_per_s / 1e9:.4g} GB/s are {row.floor_us:.2f} us",
    ]
    explained = row.floor_us
    if row.launches:
        spent = len(row.launches) * launch_us
        explained += spent
        parts.append(f"{len(row.launches)} launches of {launch_us:.2f} us each are {spent:.2f} us")
    for one in {launch.kernel: launch for launch in row.launches}.values():
        if one.registers is not None:
            words = f"{one.kernel}: {one.registers} registers"
            if one.warps is not None:
                words += f", {one.warps} of {one.most_warps} warps a multiprocessor, {one.waves} waves"
            parts.append(words + (f", {one.spill_bytes} bytes spilled" if one.spill_bytes else ""))
    parts.append(f"{max(0.0, row.reached_us - explained):.2f} us are not explained by these")
    return "; ".join(parts)


def floor_us(bytes_moved: float, bytes_per_s: float) -> float:
    """Microseconds that so many bytes take at least."""
    return round(bytes_moved / bytes_per_s * 1e6, 3)
