#!/bin/sh
# What `make test-web` needs besides .venv: Chromium and npm (installed as root on Debian), a driver for the one, and
# from the other, under .venv/web, a WebXR runtime that needs no headset.
# With --look it installs nothing and says whether both are here or to be had.
set -eu
cd "$(dirname "$0")/.."

say() { printf 'setup-web: %s\n' "$*" >&2; }
is_debian_root() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; }
has_chromium() { [ -n "${TEXVLM_CHROMIUM:-}" ] || { command -v chromium || command -v chromium-browser || command -v google-chrome; } >/dev/null 2>&1; }
has_npm() { command -v npm >/dev/null 2>&1; }
is_packaged() { apt-cache show "$1" 2>/dev/null | grep -q '^Filename:'; }
is_to_be_had() { is_debian_root && { is_packaged "$1" || { apt-get update -qq >/dev/null 2>&1 || true; is_packaged "$1"; }; }; }
NO_CHROMIUM="no Chromium here; on Debian: apt-get install chromium, or TEXVLM_CHROMIUM=/path/to/it"
NO_NPM="no npm here; install Node.js, which brings it"

if [ "${1:-}" = --look ]; then
    has_chromium || is_to_be_had chromium || { say "$NO_CHROMIUM"; exit 2; }
    has_npm || is_to_be_had npm || { say "$NO_NPM"; exit 2; }
    exit 0
fi
apt_install() {
    say "installing $1"
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1" >/dev/null
}
has_chromium || { is_to_be_had chromium && apt_install chromium; } || { say "$NO_CHROMIUM"; exit 2; }
has_npm || { is_to_be_had npm && apt_install npm; } || { say "$NO_NPM"; exit 2; }
.venv/bin/python -m pip install -q -e ".[test,web-test]"
mkdir -p .venv/web
cp tests/viewer/web/package.json .venv/web/
npm install --silent --no-audit --no-fund --no-package-lock --prefix .venv/web
touch .venv/.ready-web
