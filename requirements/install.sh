#!/usr/bin/env bash
# Makes .venv hold exactly the packages of one lock file: install.sh runtime|dev|labs|gpu
# A second call with nothing changed returns at once. The system's Python is not touched.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

group=${1:-runtime}
lock=requirements/$group.txt
[[ -f $lock ]] || { echo "There is no lock file $lock; choose one of: runtime, dev, labs, gpu." >&2; exit 2; }

# labs contains everything that runtime does, and dev everything that labs does, so a richer environment is not torn
# down for a plainer one.
stamp=.venv/installed
locked() { echo "$1 $(cat "requirements/$1.txt" requirements/{install,link}.sh | sha256sum | cut -d' ' -f1)"; }
if [[ -f $stamp ]] && grep -qxF "$(locked "$group")" "$stamp"; then
    exit 0
fi

find_uv() {
    if command -v uv >/dev/null 2>&1; then command -v uv; return; fi
    if [[ ! -x .tools/uv/bin/uv ]]; then
        echo "Installing uv into .tools/ ..." >&2
        python3 -c 'import ensurepip, venv' 2>/dev/null || requirements/system-packages.sh python >&2
        python3 -m venv --clear .tools/uv
        .tools/uv/bin/python -m pip install --quiet --disable-pip-version-check uv >&2
    fi
    echo "$PWD/.tools/uv/bin/uv"
}

uv=$(find_uv)
if [[ ! -x .venv/bin/python ]]; then
    "$uv" venv --quiet --python 3.11 .venv
fi
# pyfarmhash has no wheel: it needs a C++ compiler and Python's headers.
headers=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("include"))')
if ! command -v c++ >/dev/null 2>&1 || [[ ! -f $headers/Python.h ]]; then
    requirements/system-packages.sh build
fi

echo "Installing the packages of $lock (3.5 GB, a minute or more) ..."
rm -f "$stamp"
UV_COMPILE_BYTECODE=1 "$uv" pip sync --quiet --python .venv/bin/python --require-hashes "$lock"

requirements/link.sh .venv
{
    locked "$group"
    locked runtime
    if [[ $group = dev ]]; then locked labs; fi
} >"$stamp"
