"""An hour of video through one method of `texvlm eval temporal`: what it keeps must stay flat.

    python benchmarks/soak_temporal.py --model DIR --data DIR --method cached [--frames 90000]

Writes results/soak-temporal-METHOD.json, and fails where memory grew.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

from texvlm.encoders import load
from texvlm.evaluation.report import Origin
from texvlm.evaluation.temporal.clips import find_clips
from texvlm.evaluation.temporal.contestants import CONTESTANTS
from texvlm.evaluation.temporal.methods import choose
from texvlm.evaluation.temporal.settings import TemporalSettings
from texvlm.evaluation.temporal.soak import run_soak
from texvlm.files import write_whole

HOUR = 90_000
"""Frames of an hour at 25 a second."""

GROWTH_MIB = 16.0
"""Most that the process may grow from the second tenth of the run to the last."""


def main() -> int:
    """Play, write, and say whether it stayed flat."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder of a pretrained ViT")
    parser.add_argument("--data", type=Path, help="folder of clips; without it the procedural scenes")
    parser.add_argument("--method", required=True, choices=sorted(CONTESTANTS))
    parser.add_argument("--frames", type=int, default=HOUR)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    words = "python benchmarks/soak_temporal.py --model MODEL --data DATA"
    settings = TemporalSettings(command=f"{words} --method {arguments.method} --frames {arguments.frames}")
    encoder = load(arguments.model)
    clips = find_clips(arguments.data, frames=settings.frames, seed=settings.seed)
    start = time.perf_counter()

    def tell(done: int) -> None:
        print(f"{time.perf_counter() - start:6.0f} s  {done}/{arguments.frames}", file=sys.stderr, flush=True)

    soak = run_soak(
        encoder,
        choose(CONTESTANTS, (arguments.method,))[0],
        clips,
        settings,
        Origin.now(settings, encoder.name, arguments.threads),
        frames=arguments.frames,
        progress=tell,
    )
    path = arguments.out / f"soak-temporal-{arguments.method}.json"
    write_whole(path, (soak.model_dump_json(indent=1) + "\n").encode())
    print(
        f"{path}: {soak.minutes:g} minutes of video, {soak.ms:g} ms a frame; state at most {max(soak.state_bytes)} "
        f"bytes, grew by {soak.state_growth}; process grew by {soak.growth_mib:g} MiB"
    )
    return int(soak.state_growth > 0 or soak.growth_mib > GROWTH_MIB)


if __name__ == "__main__":
    sys.exit(main())
