#!/bin/sh
# What `make test-web` needs besides .venv: Chromium (as root on Debian or Ubuntu), a driver for it, and from npm
# a WebXR runtime that needs no headset, under .venv/web.
set -eu
cd "$(dirname "$0")/.."

say() { printf 'setup-web: %s\n' "$*" >&2; }
is_debian_root() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; }

if ! { command -v chromium || command -v chromium-browser || command -v google-chrome; } >/dev/null 2>&1 && [ -z "${TEXVLM_CHROMIUM:-}" ]; then
    is_debian_root || { say "no Chromium here; on Debian: apt-get install chromium, or TEXVLM_CHROMIUM=/path/to/it"; exit 2; }
    say "installing Chromium"
    apt-get update -qq || true
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null
fi
.venv/bin/python -m pip install -q -e ".[test,web-test]"
command -v npm >/dev/null 2>&1 || { say "no npm here; install Node.js, which brings it"; exit 2; }
mkdir -p .venv/web
cp tests/viewer/web/package.json .venv/web/
npm install --silent --no-audit --no-fund --no-package-lock --prefix .venv/web
touch .venv/.ready-web
