#!/bin/sh
# Makes .venv with everything that `make demo` and `make test` need. Called by the Makefile.
# PYTHON: interpreter to use (3.11 or newer). TORCH: what to install for torch, before all else.
set -eu
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
TORCH=${TORCH:-torch==2.13.0}

say() { printf 'setup: %s\n' "$*" >&2; }
is_debian_root() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; }
apt_install() {
    apt-get update -qq || true
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

command -v "$PYTHON" >/dev/null 2>&1 || { say "no $PYTHON; install Python 3.11 or newer, or run: make PYTHON=/path/to/python3"; exit 2; }
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    say "$("$PYTHON" --version) is too old; Python 3.11 or newer is needed: make PYTHON=python3.11"; exit 2; }

if [ ! -x .venv/bin/python ]; then
    if ! "$PYTHON" -c 'import ensurepip' 2>/dev/null && is_debian_root; then apt_install python3-venv; fi
    "$PYTHON" -m venv .venv || { say "could not make .venv; on Debian and Ubuntu: apt-get install python3-venv"; rm -rf .venv; exit 2; }
fi

# torch first and by itself: a range would resolve to the newest build, with gigabytes of CUDA packages
# that a machine without a GPU has no use for.
.venv/bin/python -c 'import torch' 2>/dev/null || { say "installing $TORCH"; .venv/bin/python -m pip install -q $TORCH; }
say "installing texvlm and its test tools"
.venv/bin/python -m pip install -q -e ".[profile,bench,test]"

# Mesa's EGL, for the gl backend without a GPU or a display. Not having it is no error: cpu works.
has_egl() { .venv/bin/python -c 'import ctypes.util, sys; sys.exit(not (ctypes.util.find_library("EGL") and ctypes.util.find_library("GL")))'; }
if ! has_egl; then
    if is_debian_root; then
        say "installing Mesa's EGL libraries"
        apt_install libegl1 libgl1-mesa-dri libgles2 libopengl0 libgl1 || say "that failed; going on with the cpu backend"
    else
        say "no EGL library here; going on with the cpu backend. For the gl backend on Debian and Ubuntu:"
        say "  apt-get install libegl1 libgl1-mesa-dri libgles2 libopengl0 libgl1"
    fi
fi

# A virtual display, for the tests of the viewer's window; without it they are skipped.
if is_debian_root && ! { command -v Xvfb && command -v xdotool && command -v xauth; } >/dev/null 2>&1; then
    say "installing a virtual display"
    apt_install xvfb xdotool xauth libxcursor1 libxi6 libxinerama1 libxrandr2 || say "that failed; going on without it"
fi
touch .venv/.ready
