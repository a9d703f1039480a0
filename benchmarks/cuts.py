"""Recall and precision of cut detection, next to PySceneDetect in the same run; writes results/cuts.{json,md}.

    pip install "texvlm[bench]" pillow scenedetect
    python benchmarks/cuts.py --data FOLDER [--cases 10] [--seed 9801]

Three sets: the labelled clips as they are; clips made from one half of the footage, on which the
detector's numbers were set; and clips made from the other half. A cut counts as found at exactly its
first frame. PySceneDetect runs with its defaults, once more without its least scene length (the made
clips cut more often than that), and may be off by a frame.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from cut_cases import Case, Frames, load  # beside this script
from cut_kinds import KINDS

from texvlm import Engine, open_source
from texvlm.bench.machine import probe_machine, source_commit
from texvlm.temporal.cuts import CutDetector
from texvlm.temporal.small_pictures import small_picture
from texvlm.temporal.transitions import Transition

HERE = Path(__file__).parent
TUNED = (
    [
        "cuts_big_buck_bunny.mp4",
        "cuts_nasa_multistream.mp4",
        "surveillance_people_one_by_one.mp4",
        "conversation_signer_woman.mkv",
        "moving_highway_dashcam.mp4",
        "action_football_juggling.mp4",
        "screen_ide_commit.webm",
    ],
    ["photos/havana_cars.jpg", "photos/garden_and_car.jpg"],
)
HELD_OUT = (
    [
        "cuts_bikes_city.mp4",
        "slides_lecture_two_slides.mov",
        "surveillance_bottles_table.mp4",
        "conversation_his_girl_friday.mp4",
        "moving_park_1080p.mp4",
        "action_cup_shuffle.mp4",
        "slow_flower_opening.mp4",
        "screen_console_typing.webm",
    ],
    ["photos/berlin_cathedral_steps.jpg", "photos/street_stop_sign.jpg"],
)
REPLACED = {"screen_ide_commit.webm": (262,)}
"""Not labelled, but the whole picture is replaced from one frame to the next: a window opens over all of the screen."""

Detect = Callable[[Frames, float], list[int]]


@dataclass(slots=True)
class Tally:
    """Counts of one detector over some clips."""

    found: int = 0
    missed: int = 0
    false: int = 0
    seconds: float = 0.0
    frames: int = 0
    where: list[str] = field(default_factory=list)

    def add(self, name: str, got: Iterable[int], want: Iterable[int], *, slack: int) -> None:
        """Compare what was reported with the truth; each report serves one cut."""
        left, missed = sorted(set(got)), []
        for cut in sorted(want):
            near = [report for report in left if abs(report - cut) <= slack]
            if near:
                left.remove(min(near, key=lambda report: abs(report - cut)))
                self.found += 1
            else:
                missed.append(cut)
        self.missed += len(missed)
        self.false += len(left)
        if left or missed:
            self.where.append(f"{name}: missed {missed}, false {left}")

    def facts(self, *, with_places: bool = True) -> dict[str, Any]:
        """For JSON."""
        said, real = self.found + self.false, self.found + self.missed
        return {
            "cuts": real,
            "found": self.found,
            "false": self.false,
            "recall": round(self.found / real, 4) if real else None,
            "precision": round(self.found / said, 4) if said else None,
            "ms_per_frame": round(1e3 * self.seconds / max(self.frames, 1), 3),
            **({"where": self.where} if with_places else {}),
        }


class Ours:
    """The engine, its small level, and the detector; the clock runs for the latter two."""

    name, slack = "texvlm", 0

    def __init__(self) -> None:
        self.seconds, self.transitions = 0.0, list[Transition]()

    def run(self, frames: Frames, rate: float) -> list[int]:
        """First frames of the shots reported."""
        detector, self.transitions, self.seconds = CutDetector(), [], 0.0
        with Engine(backend="cpu") as engine:
            for index, frame in enumerate(frames):
                engine.submit(frame)
                start = time.perf_counter()
                self.transitions.append(detector.update(small_picture(engine), time_s=index / rate))
                self.seconds += time.perf_counter() - start
        return [transition.frame for transition in self.transitions if transition.kind == "cut"]


class Theirs:
    """A detector of PySceneDetect, fed as its own command does: frames scaled to about 256 wide."""

    slack = 1

    def __init__(self, name: str, kind: str, **options: int) -> None:
        self.name, self.kind, self.options, self.seconds = name, kind, options, 0.0

    def run(self, frames: Frames, rate: float) -> list[int]:
        """First frames of the shots reported."""
        import cv2
        import scenedetect

        detector = getattr(scenedetect, self.kind)(**self.options)
        step = max(1, frames.shape[2] // 256)
        size = (frames.shape[2] // step, frames.shape[1] // step)
        got: list[Any] = []
        self.seconds = 0.0
        for index, frame in enumerate(frames):
            start = time.perf_counter()
            small = (
                cv2.resize(frame[:, :, ::-1], size, interpolation=cv2.INTER_LINEAR) if step > 1 else frame[:, :, ::-1]
            )
            got += detector.process_frame(scenedetect.FrameTimecode(index, rate), np.ascontiguousarray(small))
            self.seconds += time.perf_counter() - start
        got += detector.post_process(scenedetect.FrameTimecode(len(frames), rate))
        return [cut.frame_num for cut in got]


def detectors() -> list[Ours | Theirs]:
    """All that take part."""
    return [
        Ours(),
        Theirs("PySceneDetect content", "ContentDetector"),
        Theirs("PySceneDetect adaptive", "AdaptiveDetector"),
        Theirs("PySceneDetect content, any length", "ContentDetector", min_scene_len=1),
        Theirs("PySceneDetect adaptive, any length", "AdaptiveDetector", min_scene_len=1),
    ]


def measure(cases: Iterable[tuple[str, Case]], taking_part: Sequence[Ours | Theirs]) -> dict[str, Any]:
    """Run all detectors over some cases."""
    totals = {one.name: Tally() for one in taking_part}
    kinds: dict[str, dict[str, Tally]] = {}
    other: dict[str, dict[str, int]] = {}
    for name, case in cases:
        row = kinds.setdefault(case.kind, {one.name: Tally() for one in taking_part})
        for one in taking_part:
            got = one.run(case.frames, case.rate)
            for tally in (totals[one.name], row[one.name]):
                tally.add(name, got, case.cuts, slack=one.slack)
                tally.seconds += one.seconds
                tally.frames += len(case.frames)
            if isinstance(one, Ours):
                count_other(other.setdefault(case.kind, {}), one.transitions, case)
    return {
        "total": {name: tally.facts() for name, tally in totals.items()},
        "kinds": {
            kind: {name: tally.facts(with_places=False) for name, tally in row.items()} for kind, row in kinds.items()
        },
        "other": other,
    }


def count_other(counts: dict[str, int], transitions: Sequence[Transition], case: Case) -> None:
    """Flashes, dissolves and fades: how many of the made ones were named, and frames named outside of any."""
    named = {t.frame for t in transitions if t.kind not in ("none", "cut")}
    around = {k for first, last in case.spans for k in range(first, last + 16)}
    for key, value in (
        ("made", len(case.spans)),
        ("named", sum(any(first <= k <= last for k in named) for first, last in case.spans)),
        ("frames named elsewhere", len(named - around)),
        ("frames", len(case.frames)),
    ):
        counts[key] = counts.get(key, 0) + value


def labelled(folder: Path) -> Iterable[tuple[str, Case]]:
    """The clips as they are, one at a time."""
    for entry in json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["files"]:
        if entry["type"] == "video":
            with open_source(folder / entry["file"]) as video:
                frames = np.stack([frame.pixels for frame in video])
            yield entry["file"], Case(entry["kind"], frames, tuple(entry.get("cuts_measured", ())), rate=entry["fps"])


def made(folder: Path, half: tuple[list[str], list[str]], seed: int, count: int) -> Iterable[tuple[str, Case]]:
    """Made clips, some of each kind."""
    material = load(folder, *half)
    for number, kind in enumerate(KINDS):
        for index in range(count):
            case = kind(material, np.random.default_rng([seed, number, index]))
            yield f"{case.kind} {index}", case


def markdown(report: dict[str, Any]) -> str:
    """The tables."""
    lines = [
        f"commit {report['commit']}, {report['date']}, {report['machine']['cpu']}, {report['machine']['cores']} cores; "
        f"PySceneDetect {report['scenedetect']}; `{report['command']}`",
        "",
    ]
    for title, part in report["sets"].items():
        lines += [f"## {title}", "", "| detector | cuts | found | false | recall | precision | ms a frame |"]
        lines.append("|" + " --- |" * 7)
        for name, facts in part["total"].items():
            cells = [facts[key] for key in ("cuts", "found", "false", "recall", "precision", "ms_per_frame")]
            lines.append(f"| {name} | " + " | ".join("-" if cell is None else f"{cell:g}" for cell in cells) + " |")
        names = list(part["total"])
        lines += ["", "Found of the cuts there are, and false reports:", ""]
        lines += ["| kind | " + " | ".join(names) + " | named of flashes, dissolves, fades | named elsewhere, frames |"]
        lines.append("|" + " --- |" * (len(names) + 3))
        for kind, row in part["kinds"].items():
            cells = [f"{row[name]['found']}/{row[name]['cuts']}, {row[name]['false']}" for name in names]
            other = part["other"][kind]
            named = f"{other['named']}/{other['made']}" if other["made"] else "-"
            lines.append(
                f"| {kind} | {' | '.join(cells)} | {named} | {other['frames named elsewhere']} of {other['frames']} |"
            )
        lines += ["", *[f"- texvlm, {where}" for where in part["total"]["texvlm"]["where"]], ""]
        for where in part.get("not labelled, but replaced as a whole", ()):
            lines += [f"Of these, {where}: the manifest has no label there, yet the whole picture is replaced.", ""]
    return "\n".join(lines)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of clips with a manifest.json")
    parser.add_argument("--cases", type=int, default=10, help="made clips of each kind and half")
    parser.add_argument("--seed", type=int, default=9801)
    parser.add_argument("--out", type=Path, default=HERE / "results")
    arguments = parser.parse_args()
    taking_part = detectors()
    sets: dict[str, Any] = {"labelled clips": measure(labelled(arguments.data), taking_part)}
    ours = sets["labelled clips"]["total"]["texvlm"]
    extra = [where for where in ours["where"] if any(where.startswith(name) for name in REPLACED)]
    sets["labelled clips"]["not labelled, but replaced as a whole"] = extra
    halves = {"made from held-out footage": HELD_OUT, "made from the footage tuned on, other seeds": TUNED}
    for title, half in halves.items():
        seed = arguments.seed + (half is TUNED)
        sets[title] = measure(made(arguments.data, half, seed, arguments.cases), taking_part)
    report = {
        "machine": probe_machine().model_dump(),
        "commit": source_commit(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "command": f"python benchmarks/cuts.py --data DATA --cases {arguments.cases} --seed {arguments.seed}",
        "scenedetect": metadata.version("scenedetect"),
        "sets": sets,
    }
    (arguments.out / "cuts.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    (arguments.out / "cuts.md").write_text(markdown(report), encoding="utf-8")
    print(markdown(report))


if __name__ == "__main__":
    main()
