"""Kernels where Numba may not write: they must work all the same."""

from __future__ import annotations

import subprocess
import sys


def test_a_read_only_installation_without_a_home_compiles_in_memory():
    code = """
import logging
from numba.core import caching
caching.CacheImpl._locator_classes = []  # as where neither the package's folder nor a home can be written

from texvlm._compiled import compiled

logging.basicConfig(level="INFO")

@compiled()
def twice(x):
    return 2 * x

print(twice(21))
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert ran.stdout.strip() == "42", ran.stderr
    assert "twice is compiled anew in every process" in ran.stderr
