"""Commands that show a benchmark run to NVIDIA's profilers, for the interpreter that is running.

Nothing heavy is imported here: the hint is printed at once.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

from texvlm.profiling import is_available

KERNELS = (
    "regex:^(refresh|build_tail|sample|place_tokens|place_sunflower|plan_quadtree|read_level"
    "|keep_picture|match_blocks)$"
)
"""texvlm's own kernels; torch's are left out."""


def profiler_commands(arguments: Sequence[str]) -> list[str]:
    """Lines to be typed into a shell, with remarks.

    Args:
        arguments: of the `texvlm` program, such as ["bench", "--gpu"].
    """
    program = [sys.executable, "-m", "texvlm", *arguments]
    timeline = ["nsys", "profile", "--trace=cuda,nvtx,opengl,osrt", "--cuda-graph-trace=node"]
    timeline += ["--force-overwrite=true", "--output=texvlm-timeline"]
    kernels = ["ncu", "--set=full", f"--kernel-name={KERNELS}", "--launch-skip=20", "--launch-count=20"]
    kernels += ["--force-overwrite", "--export=texvlm-kernels"]
    lines = [
        "# timeline: ranges of the domain texvlm above the launches and copies that they queue",
        shlex.join([*timeline, *program]),
        "nsys stats --report nvtx_gpu_proj_sum,cuda_gpu_kern_sum texvlm-timeline.nsys-rep",
        "# single kernels: counters of the launches after the first twenty",
        shlex.join([*kernels, *program]),
        "ncu --import texvlm-kernels.ncu-rep --page details",
    ]
    if not is_available():
        lines.insert(0, '# nvtx is not installed, so there are no ranges: pip install "texvlm[profile]"')
    return lines
