"""Train what texvlm.video_models learns on clips, test it on others, and write results/video-models.{json,md}.

    python benchmarks/train_heads.py --data FOLDER --model DIR

Needs `pip install "texvlm[hf]"`, a folder of clips and a ViT. Every label is the full encoder's own answer.
Three questions: does the loss of each head fall, and what is left of that on clips it has not seen; what
does merging save and cost; are the helpers better than what they replace. Where they are not, it says so.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from merging_cost import merging_across, merging_times, merging_within
from torch import nn
from video_models_page import page

from texvlm.bench.machine import load_average, probe_machine, source_commit
from texvlm.encoders import load
from texvlm.encoders.untrained import untrained_vit
from texvlm.video_models import FrameAggregation, RecurrentHead, ShiftHead, TemporalHead
from texvlm.video_models.examples import ClipExamples, read_examples
from texvlm.video_models.helper_training import score_delta, score_importance, train_delta, train_importance
from texvlm.video_models.training import fit

RESULTS = Path(__file__).parent / "results"
TRAIN = (
    "surveillance_people_one_by_one.mp4",
    "conversation_his_girl_friday.mp4",
    "moving_highway_dashcam.mp4",
    "action_football_juggling.mp4",
    "cuts_bikes_city.mp4",
    "cuts_nasa_multistream.mp4",
    "screen_ide_commit.webm",
    "slow_flower_opening.mp4",
)
TEST = (
    "surveillance_bottles_table.mp4",
    "conversation_signer_woman.mkv",
    "moving_park_1080p.mp4",
    "action_cup_shuffle.mp4",
    "cuts_big_buck_bunny.mp4",
    "screen_console_typing.webm",
)
EVERY = 2
NOISE = 16
"""Standard deviation of the noise on every pixel, of 255: a camera in a dim room."""

HELD = 4
"""In the second task the encoder runs on each frame of so many."""

FLOOR = 0.005
"""Share of the features' variance below which errors do not count: clips that stand still have none to learn from."""

WINDOW = 8
"""Frames that a head sees in one step of training."""

HEADS: dict[str, Callable[[int], TemporalHead]] = {
    "aggregation": lambda width: FrameAggregation(width),
    "recurrent": lambda width: RecurrentHead(width),
    "shift": lambda width: ShiftHead(width),
}

RATES = {"aggregation": 1e-2, "recurrent": 2e-3, "shift": 2e-3}
"""Learning rates: a share has a way to go from 0 before it is seen."""

Clip = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""What a head is given, its ages, and what is right: (frames, rows, width), (frames, rows), (frames, rows, width)."""


def main() -> None:
    """Read, train, test, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of clips")
    parser.add_argument("--model", type=Path, required=True, help="folder of a ViT")
    parser.add_argument("--frames", type=int, default=48, help="of each clip")
    parser.add_argument("--steps", type=int, default=300, help="of each head; the helpers take twice as many")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where results go")
    options = parser.parse_args()
    torch.set_num_threads(1)
    before = load_average()
    encoder = load(options.model)
    clean, noisy = ({}, {})
    for name in TRAIN + TEST:
        for found, alter in ((clean, None), (noisy, _noise)):
            found[name] = read_examples(options.data / name, encoder, every=EVERY, frames=options.frames, alter=alter)
        print(f"{name}: {len(clean[name])} frames", flush=True)
    tasks = {
        "noise": lambda name: _rows(noisy[name], clean[name]),
        "held": lambda name: _held(clean[name]),
    }
    heads = []
    for task, make in tasks.items():
        train, test = [make(name) for name in TRAIN], {name: make(name) for name in TEST}
        heads += [_head(kind, task, encoder.width, train, test, options.steps) for kind in HEADS]
    report = {
        "machine": probe_machine().model_dump(),
        "commit": source_commit(),
        "command": "python benchmarks/train_heads.py --data DATA --model MODEL",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "load_before": before,
        "threads": 1,
        "model": encoder.name,
        "frames": options.frames,
        "every": EVERY,
        "noise": NOISE,
        "held": HELD,
        "steps": options.steps,
        "train": TRAIN,
        "test": TEST,
        "heads": heads,
        "merging_within": merging_within(encoder, options.data, TEST),
        "merging_base": merging_times(untrained_vit(768, 12, 12)),
        "merging_across": merging_across([clean[name] for name in TEST]),
        "importance": _importance(clean, 2 * options.steps),
        "delta": _delta(clean, encoder, 2 * options.steps),
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "video-models.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    (options.out / "video-models.md").write_text(page(json.loads(json.dumps(report))), encoding="utf-8")


def _noise(pixels: np.ndarray, index: int) -> np.ndarray:
    """The picture with noise of its own, the same in every run."""
    added = np.random.default_rng(index).normal(scale=NOISE, size=pixels.shape)
    return np.clip(np.rint(pixels + added), 0, 255).astype(np.uint8)


def _features(clip: ClipExamples) -> torch.Tensor:
    return torch.cat([clip.prefix, clip.tokens[:, ~clip.padding]], dim=1)


def _rows(seen: ClipExamples, wanted: ClipExamples) -> Clip:
    """Features of noisy frames, and of the same frames without noise."""
    given = _features(seen)
    return given, torch.zeros(given.shape[:2]), _features(wanted)


def _held(clip: ClipExamples) -> Clip:
    """Features of each HELD-th frame, held until the next, and those of every frame."""
    wanted = _features(clip)
    at = torch.arange(len(wanted))
    last = at - at % HELD
    return wanted[last], (at % HELD)[:, None].expand(wanted.shape[:2]).float(), wanted


def _error(made: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Squared error of the class token and of the tokens, which count alike."""
    wrong = (made - wanted).square()
    return (wrong[..., 0, :].mean() + wrong[..., 1:, :].mean()) / 2


def _scale(given: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """What errors of a clip are measured in: those of what the encoder gives, and a floor where there are none."""
    return _error(given, wanted) + FLOOR * wanted.var()


def _head(kind: str, task: str, width: int, train: Sequence[Clip], test: dict[str, Clip], steps: int) -> dict[str, Any]:
    """Train one head on one task; see `_scale` for what losses are relative to."""
    torch.manual_seed(0)
    head = HEADS[kind](width)
    scales = [_scale(given, wanted) for given, _, wanted in train]

    def loss(generator: torch.Generator) -> torch.Tensor:
        parts = []
        for _ in range(2):
            at = int(torch.randint(len(train), (), generator=generator))
            given, ages, wanted = train[at]
            start = int(torch.randint(len(given) - WINDOW + 1, (), generator=generator))
            window = slice(start, start + WINDOW)
            made = head(given[None, window], ages=ages[None, window])[0]
            parts.append(_error(made, wanted[window]) / scales[at])
        return torch.stack(parts).mean()

    with torch.no_grad():  # before training it is the identity
        given, ages, _ = train[0]
        assert torch.equal(head(given[None, :WINDOW], ages=ages[None, :WINDOW])[0], given[:WINDOW])
    start = time.perf_counter()
    losses = fit(head, loss, steps=steps, rate=RATES[kind])
    seconds = time.perf_counter() - start
    tenth = max(steps // 10, 1)
    with torch.no_grad():
        learned = [head(given[None], ages=ages[None])[0] for given, ages, _ in train]
    rows = []
    for name, (given, ages, wanted) in test.items():
        with torch.no_grad():
            made = head(given[None], ages=ages[None])[0]
        four = torch.stack([given[max(i - 3, 0) : i + 1].mean(0) for i in range(len(given))])
        rows.append(
            {
                "clip": name,
                "loss": float(_error(made, wanted) / _scale(given, wanted)),
                "loss given": float(_error(given, wanted) / _scale(given, wanted)),
                **_cosines("given", given, wanted),
                **_cosines("head", made, wanted),
                **_cosines("mean of 4", four, wanted),
            }
        )
    print(
        f"{task} {kind}: {seconds:.0f} s, loss {np.mean(losses[:tenth]):.3f} -> {np.mean(losses[-tenth:]):.3f}",
        flush=True,
    )
    return {
        "task": task,
        "head": kind,
        "weights": sum(value.numel() for value in head.parameters()),
        "state_bytes": sum(part.numel() * part.element_size() for part in head.begin(1, given.shape[1])),
        "first_loss": float(np.mean([_error(g, w) / s for (g, _, w), s in zip(train, scales, strict=True)])),
        "last_loss": float(np.mean([_error(m, w) / s for m, (_, _, w), s in zip(learned, train, scales, strict=True)])),
        "losses": [round(float(np.mean(losses[i : i + tenth])), 4) for i in range(0, steps, tenth)],
        "seconds": round(seconds, 1),
        "clips": rows,
    }


def _cosines(name: str, made: torch.Tensor, wanted: torch.Tensor) -> dict[str, float]:
    found = nn.functional.cosine_similarity(made, wanted, dim=-1)
    return {f"{name}, class token": float(found[:, 0].mean()), f"{name}, tokens": float(found[:, 1:].mean())}


def _importance(clips: dict[str, ClipExamples], steps: int) -> dict[str, Any]:
    """On other clips than it learned from, each by itself and all together."""
    model, losses = train_importance([clips[name] for name in TRAIN], steps=steps)
    test = {name: asdict(score_importance(model, [clips[name]])) for name in TEST}
    whole = asdict(score_importance(model, [clips[name] for name in TEST]))
    return {"first_loss": losses[0], "last_loss": float(np.mean(losses[-20:])), "clips": test, "all": whole}


def _delta(clips: dict[str, ClipExamples], encoder: Any, steps: int) -> dict[str, Any]:
    """On other clips than it learned from, and on the last fifth of clips whose beginning it learned from."""
    model, losses = train_delta([clips[name] for name in TRAIN], encoder, steps=steps)
    test = {name: asdict(score_delta(model, [clips[name]], encoder)) for name in TEST}
    whole = asdict(score_delta(model, [clips[name] for name in TEST], encoder))
    parts = {name: (clip.part(slice(0, int(0.8 * len(clip)))), clip.part(slice(int(0.8 * len(clip)), None)))
             for name, clip in clips.items()}  # fmt: skip
    model, _ = train_delta([parts[name][0] for name in TEST], encoder, steps=steps)
    own = asdict(score_delta(model, [parts[name][1] for name in TEST], encoder))
    return {
        "first_loss": float(np.mean(losses[:20])),
        "last_loss": float(np.mean(losses[-20:])),
        "clips": test,
        "all": whole,
        "own clips": own,
    }


if __name__ == "__main__":
    main()
