"""The GPU benchmark: the cuda backend against its targets, its floors, and what one would write in torch.

    report     records that go to JSON           run        everything in one report
    timers     events on a device, or a clock    pictures   frames in rings
    steps      ingest, sample, frame to tokens   rivals     torch pyramid, dense resize (`peers`)
    launches   kernels launched, registers       why        floors, and what explains a miss
    maps       map and unmap of OpenGL textures  device     the device, its bandwidth and launch cost

`run_gpu_bench(settings)` gives a report; `gpu_tables(report)` turns it into rows. Each row stands beside its
floor: bytes that the algorithm must move, over the bandwidth of a plain copy in the same run.
"""

from __future__ import annotations

from texvlm.bench.gpu.report import GpuReport
from texvlm.bench.gpu.run import QUICK, GpuSettings, run_gpu_bench
from texvlm.bench.gpu.tables import gpu_tables, where

__all__ = ["QUICK", "GpuReport", "GpuSettings", "gpu_tables", "run_gpu_bench", "where"]
