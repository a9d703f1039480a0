"""What every kernel takes of a multiprocessor, on every supported architecture; needs NVRTC, no GPU.

Prints registers by file and architecture. With `--out benchmarks/results/kernel-registers.json` it
also writes what each variant takes: registers, stack, spills and shared memory.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from texvlm.backends.cuda.bindings import load_bindings
from texvlm.backends.cuda.compiler import NvrtcCompiler, ResourceUsage
from texvlm.backends.cuda.kernel_source import KernelSource, read_source
from texvlm.backends.cuda.variants import Variant, shipped_variants
from texvlm.bench.machine import source_commit

ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")


def main() -> None:
    """Compile everything and write or print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    bindings = load_bindings()
    variants = shipped_variants()
    sources = {file: read_source(file) for file, _ in variants}  # once: someone may be editing
    usages: dict[str, list[ResourceUsage]] = {}
    version = ""
    for architecture in ARCHITECTURES:
        compiler = NvrtcCompiler(architecture, bindings=bindings)
        version = compiler.version
        usages[architecture] = _compile(compiler, variants, sources, options.threads)
    print(_table(variants, usages))
    if options.out:
        options.out.write_text(json.dumps(_report(version, variants, usages), indent=1) + "\n")


def _compile(
    compiler: NvrtcCompiler, variants: Sequence[Variant], sources: dict[str, KernelSource], threads: int
) -> list[ResourceUsage]:
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda variant: compiler.build(sources[variant[0]], variant[1]).usage, variants))


def _table(variants: Sequence[Variant], usages: dict[str, list[ResourceUsage]]) -> str:
    """Registers by file, least to most of its variants; spilled bytes where there are any."""
    files = sorted({file for file, _ in variants})
    lines = [f"{'registers':<22}" + "".join(f"{name:>12}" for name in usages)]
    for file in files:
        cells = []
        for found in usages.values():
            own = [usage for (name, _), usage in zip(variants, found, strict=True) if name == file]
            least, most = min(u.registers for u in own), max(u.registers for u in own)
            spilled = max(u.spill_bytes + u.reload_bytes + u.stack_bytes for u in own)
            cells.append((f"{least}" if least == most else f"{least}..{most}") + (f" !{spilled}" if spilled else ""))
        lines.append(f"{file:<22}" + "".join(f"{cell:>12}" for cell in cells))
    return "\n".join(lines)


def _report(version: str, variants: Sequence[Variant], usages: dict[str, list[ResourceUsage]]) -> dict[str, Any]:
    return {
        "commit": source_commit(),
        "compiler": f"NVRTC {version}",
        "architectures": list(usages),
        "kernels": [
            {
                "file": file,
                "definitions": dict(definitions),
                "usage": {name: asdict(found[index]) for name, found in usages.items()},
            }
            for index, (file, definitions) in enumerate(variants)
        ],
    }


if __name__ == "__main__":
    main()
