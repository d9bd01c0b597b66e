#!/usr/bin/env bash
# Writes the hash-pinned lock files. uv.lock itself records index addresses and is not committed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

uv=$(command -v uv || echo "$PWD/.tools/uv/bin/uv")
"$uv" lock --upgrade
export_lock() {
    "$uv" export --frozen --quiet --no-emit-project --no-annotate --no-header --no-default-groups "${@:2}" \
        -o "requirements/$1.txt" >/dev/null
}
export_lock runtime
export_lock dev --group dev
export_lock labs --group labs
export_lock gpu --extra gpu
export_lock serve --only-group serve
