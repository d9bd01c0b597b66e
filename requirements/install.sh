#!/usr/bin/env bash
# Makes .venv hold exactly the packages of one lock file: install.sh runtime|dev|labs|gpu
# A second call with nothing changed returns at once. The system's Python is not touched.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

refuse() { echo "$1" >&2; exit "${2:-1}"; }

group=${1:-runtime}
# What the environment takes on disk, in tenths of a GB: `du` of a fresh one. docs/tutorial.md and README.md say it, too.
case $group in
    runtime) size=38 ;;
    labs) size=42 ;;
    dev) size=49 ;;
    gpu) size=82 ;;
    *) refuse "There is no lock file requirements/$group.txt; choose one of: runtime, dev, labs, gpu." 2 ;;
esac
lock=requirements/$group.txt

# labs contains everything that runtime does, and dev everything that labs does, so a richer environment is not torn
# down for a plainer one.
stamp=.venv/installed
locked() { echo "$1 $(cat "requirements/$1.txt" requirements/{install,link}.sh | git hash-object --stdin)"; }
if [[ -f $stamp ]] && grep -qxF "$(locked "$group")" "$stamp"; then
    exit 0
fi

# On any other platform the lock files hold no package at all, and installing none of them succeeds.
check_platform() {
    local platform missing=''
    platform="$(uname -s) $(uname -m)"
    case $platform in
        'Linux x86_64' | 'Darwin arm64') return ;;
        'Linux aarch64' | 'Linux arm64') missing=' (ml-metadata, tfx-bsl and tensorflow-data-validation have no wheels)' ;;
        'Darwin x86_64')
            missing=' (TensorFlow, ml-metadata, tfx-bsl and tensorflow-data-validation no longer have wheels)' ;;
    esac
    refuse "Flightdeck cannot be installed on $platform$missing: use Linux on x86-64 or macOS on Apple silicon."
}

check_disk() {
    local free held=0
    free=$(df -Pk . | awk 'NR == 2 {print $4}')
    if [[ -d .venv ]]; then held=$(du -sk .venv | cut -f1); fi  # is replaced
    free=$(((free + held) * 1024 / 100000000))
    ((free >= size)) || refuse "The packages of $lock take $(gigabytes "$size") on disk, and $PWD has room for \
$(gigabytes "$free"): make room, then try again."
}
gigabytes() { echo "$(($1 / 10)).$(($1 % 10)) GB"; }

find_uv() {
    if uv=$(command -v uv); then return; fi
    uv=$PWD/.tools/uv/bin/uv
    if [[ -x $uv ]]; then return; fi
    echo "Installing uv into .tools/ ..."
    python3 -c 'import ensurepip, venv' 2>/dev/null || requirements/system-packages.sh python
    python3 -m venv --clear .tools/uv
    .tools/uv/bin/python -m pip install --quiet --disable-pip-version-check uv
}

# An environment of another Python, or of one that is gone, is made anew.
make_environment() {
    if .venv/bin/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then return; fi
    if ! "$uv" python find --system --no-python-downloads 3.11 >/dev/null 2>&1; then
        echo "There is no Python 3.11 on this machine; uv downloads one ..."
        "$uv" python install --quiet 3.11 2>/dev/null || refuse "uv cannot download Python 3.11: install it (Debian 12: \
python3.11; Ubuntu: python3.11 and python3.11-dev of the deadsnakes PPA; macOS: brew install python@3.11), then try again."
    fi
    rm -rf .venv
    "$uv" venv --quiet --python 3.11 .venv
}

check_platform
check_disk
find_uv
make_environment
# pyfarmhash has no wheel: it needs a C++ compiler and Python's headers.
command -v c++ >/dev/null || requirements/system-packages.sh compiler
headers=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("include"))')
[[ -f $headers/Python.h ]] || requirements/system-packages.sh headers

echo "Installing the packages of $lock ($(gigabytes "$size") on disk, a minute or more) ..."
rm -f "$stamp"
UV_COMPILE_BYTECODE=1 "$uv" pip sync --quiet --python .venv/bin/python --require-hashes "$lock"

requirements/link.sh .venv
{
    locked "$group"
    locked runtime
    if [[ $group = dev ]]; then locked labs; fi
} >"$stamp"
