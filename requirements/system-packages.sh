#!/usr/bin/env bash
# Installs what no Python wheel brings, from the distribution:
# system-packages.sh python|compiler|headers|build|docker|mariadb|kubernetes|cluster|browser|prometheus
set -euo pipefail

case ${1:-} in
    python) packages=(python3-venv) ;;
    compiler) packages=(g++) ;;
    headers) packages=(python3.11-dev) ;;
    build) packages=(g++ python3-dev) ;;  # both of them, where python3 is a Python 3.11: in an image
    docker) packages=(docker.io debootstrap debian-archive-keyring iptables) ;;
    mariadb) packages=(mariadb-server-core mariadb-client-core) ;;  # programs alone: nothing that starts by itself
    # For a machine without a recent kubectl. That of Debian 12 is of 2020 and does not know Kustomize's components, so
    # Kustomize is built from its release (into .tools/kustomize), for which Debian's Go suffices.
    kubernetes) packages=(golang-go) ;;
    # A node of the tests' own cluster. An engine of Docker's own packages brings containerd and runc itself.
    cluster)
        packages=(etcd-server containernetworking-plugins iptables iproute2)
        command -v containerd >/dev/null || packages+=(containerd)
        command -v runc >/dev/null || packages+=(runc)
        ;;
    browser) packages=(chromium fonts-dejavu-core) ;;
    load) packages=(nghttp2-client) ;;  # h2load, which asks the servers that benchmarks/serving_peers compares
    prometheus) packages=(prometheus) ;;  # unpacked into .tools/prometheus: installed, it would start by itself
    *) echo "usage: system-packages.sh python|compiler|headers|build|docker|mariadb|kubernetes|cluster|browser|load|prometheus" >&2; exit 2 ;;
esac

install_kustomize() {
    local tools
    tools=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/.tools/kustomize
    echo "Building Kustomize into .tools/kustomize (a minute or two) ..." >&2
    GOBIN=$tools GOFLAGS=-mod=mod go install sigs.k8s.io/kustomize/kustomize/v5@v5.0.1
}
if [[ $1 = kubernetes ]] && command -v go >/dev/null; then
    install_kustomize
    exit 0
fi

unpack_prometheus() {
    local tools folder
    tools=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/.tools
    mkdir -p "$tools"
    exec 9>"$tools/prometheus.lock"
    flock 9
    if [[ -x $tools/prometheus/usr/bin/prometheus ]]; then return; fi
    echo "Unpacking Prometheus into .tools/prometheus ..." >&2
    folder=$(mktemp -d "$tools/prometheus.XXXXXX")
    cd "$folder"
    # Lists of packages that are missing or old are made anew.
    download || { apt-get update -qq && download; }
    dpkg-deb --extract prometheus_*.deb .
    rm prometheus_*.deb
    rm -rf "$tools/prometheus"
    mv "$folder" "$tools/prometheus"
}
download() { apt-get download -qq -o APT::Sandbox::User=root prometheus; }
# It needs no rights of root.
if [[ $1 = prometheus ]] && command -v apt-get dpkg-deb >/dev/null; then
    unpack_prometheus
    exit 0
fi

if [[ $(uname -s) = Darwin && $1 = compiler ]]; then
    echo "Please install Apple's command line tools first, then try again: xcode-select --install" >&2
    exit 1
fi
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
if [[ $1 = kubernetes ]]; then install_kustomize; fi
