"""`texvlm doctor`: what was probed, what failed and why, what to install."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from texvlm.cli.console import print_json, print_line, print_table, spinner
from texvlm.cli.options import JsonOption
from texvlm.cli.outcome import BAD_INPUT

if TYPE_CHECKING:
    from texvlm.doctor.findings import Finding


def doctor(json: JsonOption = False) -> None:
    """Probe backends, drivers and libraries; say what failed, why, and what to install.

    Ends with 0 when at least one backend works, else with 2.
    """
    with spinner("probing; the first run compiles kernels"):
        from texvlm.doctor import diagnose

        found = diagnose()
    if json:
        print_json(asdict(found) | {"usable": found.usable})
    else:
        print_table("versions", [(name, version or "not installed") for name, version in found.versions.items()])
        tests = {test.name: test for test in found.self_tests}
        rows = [(f.name, f.state, f.detail, _tested(tests.get(f.name))) for f in found.backends]
        print_table("backends, in the order in which auto tries them", rows, header=("", "", "", "self-test"))
        print_table("surroundings", [(f.name, f.state, f.detail) for f in found.findings])
        print_table("cuda", [(f.name, f.state, f.detail) for f in found.cuda])
        print_table("devices", [(device,) for device in found.devices or ["none seen by EGL or the NVIDIA driver"]])
        print_line(f"auto takes: {found.automatic or 'nothing'}")
        for refusal in found.refusals:
            print_line(f"  left out: {refusal}")
        for finding in [*found.backends, *found.findings, *found.cuda, *found.self_tests]:
            if not finding.advice:
                continue
            works = "works; it could do better" if finding.state == "ok" else f"is {finding.state}; what helps"
            print_line(f"\n{finding.name} {works}:")
            for line in finding.advice:
                print_line(f"  {line}")
    if not found.usable:
        raise typer.Exit(BAD_INPUT)


def _tested(test: Finding | None) -> str:
    return "-" if test is None else f"{test.state}: {test.detail}"
