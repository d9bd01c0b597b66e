#!/usr/bin/env bash
# Installs what no Python wheel brings, from the distribution: system-packages.sh python|build|docker|mariadb
set -euo pipefail

case ${1:-} in
    python) packages=(python3-venv) ;;
    build) packages=(g++ python3-dev) ;;
    docker) packages=(docker.io debootstrap iptables) ;;
    mariadb) packages=(mariadb-server-core) ;;  # the server alone: nothing that starts by itself
    *) echo "usage: system-packages.sh python|build|docker|mariadb" >&2; exit 2 ;;
esac

as_root=()
if [[ $(id -u) -ne 0 ]]; then
    as_root=(sudo)
    if ! sudo -n true 2>/dev/null; then
        echo "Please install these packages first, then try again: sudo apt-get install ${packages[*]}" >&2
        exit 1
    fi
fi
command -v apt-get >/dev/null || { echo "Please install these packages with your package manager: ${packages[*]}" >&2; exit 1; }
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "${packages[@]}" >/dev/null
