"""A Kubernetes cluster of our own: control plane and one node, in namespaces that leave the machine alone.

A holder process owns the namespaces (network, mounts, processes). It ends when its standard input does, so with the
process that started it, however that ends; and everything inside ends with the holder.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.services.daemon import ROOT, SERVICES, Daemon, ServiceError, install
from tests.services.kubernetes import programs
from tests.services.kubernetes.certificates import Authority
from tests.services.kubernetes.cluster import Cluster, wait_for
from tests.services.kubernetes.images import Images

FOLDER = SERVICES / "kubernetes"
RUN = FOLDER / "run"
FROM_THE_DISTRIBUTION = ("etcd", "containerd", "runc", "iptables", "ip", "nsenter", "unshare")
CNI = Path("/usr/lib/cni")
NODE = "node1"
# All of these exist in the namespaces only.
ADDRESS = "10.200.0.1"
PODS = "10.244.0.0/24"
SERVICE_ADDRESSES = "10.96.0.0/16"
API_SERVICE = "10.96.0.1"
PAUSE = "flightdeck.test/pause:1"
# The workspace, where overlays/local expects it on the node, is this folder on this machine.
WORKSPACE, WORKSPACE_HERE = Path("/var/flightdeck/workspace"), RUN / "workspace"
CGROUPS = Path("/sys/fs/cgroup")
CGROUP = f"flightdeck-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:12]}"  # the node's; every checkout has its own
# The kubelet sets these of the machine's kernel. It is shown that they are set already.
KERNEL_SETTINGS = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1000000,
    "kernel/keys/root_maxbytes": 25000000,
}


@contextlib.contextmanager
def running(images: Images, database_image: str) -> Iterator[Cluster]:
    """A cluster with one node that is ready and has images: MariaDB's under the name that the manifests ask for."""
    _require()
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = programs.build()
        _clear()
        holder = _hold()
        try:
            node = _Node(folder, holder, images)
            node.start_control_plane()
            node.start_containers(images, database_image)
            node.start_kubelet()
            yield node.cluster
        finally:
            holder.communicate()
            _remove_cgroups()


def kernel_settings() -> dict[str, str]:
    """The settings of this machine's kernel that a kubelet would set."""
    files = {name: Path("/proc/sys", name) for name in KERNEL_SETTINGS}
    return {name: file.read_text().strip() for name, file in files.items() if file.exists()}


def node_folder(name: str, owner: int) -> Path:
    """A folder on the node for a volume that a user writes to."""
    folder = RUN / "volumes" / name
    folder.mkdir(parents=True)
    os.chown(folder, owner, owner)
    return folder


def _require() -> None:
    if sys.platform != "linux" or os.getuid() != 0:
        raise ServiceError(
            "Only root on Linux can start a cluster (it needs namespaces, mounts and cgroups): "
            "run this as root, or set KUBECONFIG to a cluster that runs."
        )
    if not all(map(shutil.which, FROM_THE_DISTRIBUTION)) or not (CNI / "bridge").exists():
        install("cluster")
    missing = [program for program in FROM_THE_DISTRIBUTION if shutil.which(program) is None]
    if missing:
        raise ServiceError(f"Without {', '.join(missing)} no cluster can be started; install it.")


def _clear() -> None:
    """Removes what an earlier cluster left."""
    _remove_cgroups()
    shutil.rmtree(RUN, ignore_errors=True)
    (RUN / "volumes").mkdir(parents=True)
    WORKSPACE_HERE.mkdir()
    WORKSPACE_HERE.chmod(0o777)  # pods write as the image's user


def _hold() -> subprocess.Popen[bytes]:
    """Makes the namespaces and what must be in them before any program starts."""
    masks = "\n".join(
        f"echo {value} >/run/kernel/{name.replace('/', '.')} && "
        f"mount --bind /run/kernel/{name.replace('/', '.')} /proc/sys/{name}"
        for name, value in KERNEL_SETTINGS.items()
    )
    script = f"""
        set -eu
        mount --make-rshared /
        mount -t tmpfs tmpfs /run
        mkdir /run/services /run/kernel /run/lock /run/netns
        mount --rbind {FOLDER} /run/services
        mount -t tmpfs tmpfs /var
        mkdir -p /var/lib /var/log /var/tmp {WORKSPACE} {FOLDER}
        mount --rbind /run/services {FOLDER}
        mount --bind {WORKSPACE_HERE} {WORKSPACE}
        {masks}
        ip link set lo up
        ip link add node0 type bridge
        ip address add {ADDRESS}/24 dev node0
        ip link set node0 up
        ip route add default via {ADDRESS}
        echo 1 >/proc/sys/net/ipv4/ip_forward
        echo ready
        while read -r _; do :; done
    """
    command = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    holder = subprocess.Popen(
        [*command, "--propagation=private", "bash", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for the tests, which then end the cluster
    )
    assert holder.stdout is not None
    if holder.stdout.readline() != b"ready\n":
        said = holder.communicate()[1].decode(errors="replace").strip()
        raise ServiceError(f"This machine does not allow namespaces for a cluster: {said}; set KUBECONFIG to another.")
    return holder


class _Node:
    """The programs of the cluster, each a child of the holder's namespaces."""

    def __init__(self, folder: Path, holder: subprocess.Popen[bytes], images: Images) -> None:
        self._programs = folder
        children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()
        self._inside = ("nsenter", f"--target={children[0]}", "--net", "--mount", "--pid", "--")
        self._certificates = RUN / "certificates"
        kubectl = [str(folder / "kubectl"), f"--kubeconfig={RUN / 'admin.kubeconfig'}"]
        command = ("nsenter", f"--target={children[0]}", "--net", "--", *kubectl)
        self.cluster = Cluster(command, ours=True, image=images.flightdeck, server_image=images.server)

    def start_control_plane(self) -> None:
        """etcd, the API server, the controllers and the scheduler; returns when the API server is ready."""
        self._issue()
        pairs = self._certificates
        # What a power cut would lose is only a test.
        self._start("etcd", f"--data-dir={RUN / 'etcd' / 'data'}", "--unsafe-no-fsync")
        self._start(
            "kube-apiserver",
            "--etcd-servers=http://127.0.0.1:2379",
            f"--advertise-address={ADDRESS}",
            "--bind-address=0.0.0.0",  # of the namespace: nothing outside reaches it
            f"--service-cluster-ip-range={SERVICE_ADDRESSES}",
            f"--tls-cert-file={pairs / 'apiserver.crt'}",
            f"--tls-private-key-file={pairs / 'apiserver.key'}",
            f"--client-ca-file={pairs / 'ca.crt'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={pairs / 'accounts.crt'}",
            f"--service-account-signing-key-file={pairs / 'accounts.key'}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            f"--kubelet-client-certificate={pairs / 'admin.crt'}",
            f"--kubelet-client-key={pairs / 'admin.key'}",
            f"--kubelet-certificate-authority={pairs / 'ca.crt'}",
            "--kubelet-preferred-address-types=InternalIP",  # the node's name resolves nowhere
            "--feature-gates=WatchList=false",  # etcd 3.4 of the distributions cannot serve it
            ready=lambda: self.cluster.succeeds("get", "--raw=/readyz"),
        )
        administrator = [
            f"--{purpose}kubeconfig={RUN / 'admin.kubeconfig'}" for purpose in ("", "authentication-", "authorization-")
        ]
        self._start(
            "kube-controller-manager",
            *administrator,
            "--bind-address=127.0.0.1",
            f"--service-account-private-key-file={pairs / 'accounts.key'}",
            f"--root-ca-file={pairs / 'ca.crt'}",
            "--use-service-account-credentials=true",
            "--leader-elect=false",
        )
        self._start("kube-scheduler", *administrator, "--bind-address=127.0.0.1", "--leader-elect=false")

    def start_containers(self, images: Images, database_image: str) -> None:
        """Containerd with the images, and a network for pods."""
        network = {
            "cniVersion": "0.4.0",
            "name": "pods",
            "plugins": [
                {
                    "type": "bridge",
                    "bridge": "pods0",
                    "isGateway": True,
                    "hairpinMode": True,
                    "ipam": {"type": "host-local", "ranges": [[{"subnet": PODS}]], "routes": [{"dst": "0.0.0.0/0"}]},
                },
                {"type": "portmap", "capabilities": {"portMappings": True}},
            ],
        }
        (RUN / "cni").mkdir()
        (RUN / "cni" / "10-pods.conflist").write_text(json.dumps(network))
        (RUN / "containerd.toml").write_text(f"""
            version = 2
            root = "{FOLDER / "containerd"}"
            [plugins."io.containerd.grpc.v1.cri"]
              sandbox_image = "{PAUSE}"
              restrict_oom_score_adj = true  # a machine may lack the right to lower it
              [plugins."io.containerd.grpc.v1.cri".cni]
                bin_dir = "{CNI}"
                conf_dir = "{RUN / "cni"}"
            """)
        self._start(
            "containerd",
            f"--config={RUN / 'containerd.toml'}",
            ready=lambda: self._run("ctr", "version").returncode == 0,
        )
        self._import(images)
        wanted = {"pause": PAUSE, "mariadb": f"docker.io/library/{database_image}"}
        for target, further in wanted.items():
            self._ctr("tag", "--force", f"docker.io/library/{images.others[target]}", further)

    def start_kubelet(self) -> None:
        """The node's agents; returns when the node is ready for pods."""
        pairs = self._certificates
        _write(
            RUN / "kubelet.yaml",
            {
                "apiVersion": "kubelet.config.k8s.io/v1beta1",
                "kind": "KubeletConfiguration",
                "address": ADDRESS,
                "authentication": {
                    "anonymous": {"enabled": False},
                    "webhook": {"enabled": True},
                    "x509": {"clientCAFile": str(pairs / "ca.crt")},
                },
                "authorization": {"mode": "Webhook"},
                "cgroupDriver": "cgroupfs",
                "cgroupRoot": f"/{CGROUP}",
                "clusterDNS": [ADDRESS],
                "clusterDomain": "cluster.local",
                "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
                "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
                "failCgroupV1": False,
                "failSwapOn": False,
                "imageGCHighThresholdPercent": 100,  # no image can be pulled again
                "resolvConf": "",
                "tlsCertFile": str(pairs / "kubelet.crt"),
                "tlsPrivateKeyFile": str(pairs / "kubelet.key"),
            },
        )
        _write(
            RUN / "proxy.yaml",
            {
                "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
                "kind": "KubeProxyConfiguration",
                "clientConnection": {"kubeconfig": str(RUN / "admin.kubeconfig")},
                "mode": "iptables",
                "clusterCIDR": PODS,
                "hostnameOverride": NODE,
                # Of the machine's kernel, not of the namespace.
                "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
            },
        )
        (RUN / "Corefile").write_text(f"""
            .:53 {{
                bind {ADDRESS}
                errors
                kubernetes cluster.local {{
                    kubeconfig {RUN / "admin.kubeconfig"}
                }}
            }}
            """)
        _make_cgroups()
        self._start("coredns", f"-conf={RUN / 'Corefile'}")
        self._start("kube-proxy", f"--config={RUN / 'proxy.yaml'}")
        self._start(
            "kubelet",
            f"--config={RUN / 'kubelet.yaml'}",
            f"--kubeconfig={RUN / 'kubelet.kubeconfig'}",
            f"--hostname-override={NODE}",
            f"--node-ip={ADDRESS}",
            f"--root-dir={RUN / 'kubelet' / 'root'}",
            ready=lambda: self.cluster.succeeds("wait", "--for=condition=Ready", f"node/{NODE}", "--timeout=5s"),
        )
        if not wait_for(lambda: self.cluster.has("serviceaccount", "default"), 60):
            raise ServiceError(f"The controllers make no service account; see {RUN}/kube-controller-manager/log.")

    def _issue(self) -> None:
        authority = Authority(self._certificates)
        authority.issue(
            "apiserver", "kube-apiserver", addresses=(API_SERVICE, ADDRESS, "127.0.0.1", "kubernetes.default.svc")
        )
        authority.issue("kubelet", f"system:node:{NODE}", "system:nodes", addresses=(ADDRESS, NODE))
        authority.issue("admin", "admin", "system:masters")
        authority.issue("accounts", "signer of service accounts' tokens")
        for user in ("admin", "kubelet"):
            _write(RUN / f"{user}.kubeconfig", self._kubeconfig(user))

    def _kubeconfig(self, user: str) -> dict[str, Any]:
        pairs = self._certificates
        server = {"server": f"https://{ADDRESS}:6443", "certificate-authority": str(pairs / "ca.crt")}
        client = {"client-certificate": str(pairs / f"{user}.crt"), "client-key": str(pairs / f"{user}.key")}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "tests", "cluster": server}],
            "users": [{"name": user, "user": client}],
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": user}}],
            "current-context": "tests",
        }

    def _start(self, name: str, *arguments: str, ready: Callable[[], bool] = lambda: True) -> None:
        program = str(self._programs / name) if (self._programs / name).exists() else name
        Daemon(f"{RUN.relative_to(SERVICES)}/{name}", program).start(
            [*self._inside, program, *arguments], ready, seconds=120
        )

    def _import(self, images: Images) -> None:
        """Fetches the images from Docker's engine, unless an earlier cluster left them; others are removed."""
        there = set(self._ctr("list", "--quiet").split())
        for image in there - set(images.names()):
            self._ctr("remove", image)
        if set(images.names()) <= there:
            return
        with subprocess.Popen(images.archive(), stdout=subprocess.PIPE) as archive:
            self._ctr("import", "-", stdin=archive.stdout)
        if archive.returncode:
            raise ServiceError(f"`{' '.join(images.archive())}` failed with exit code {archive.returncode}.")

    def _ctr(self, *arguments: str, stdin: Any = subprocess.DEVNULL) -> str:
        done = self._run("ctr", "--namespace=k8s.io", "images", *arguments, stdin=stdin)
        if done.returncode:
            raise ServiceError(f"`ctr images {' '.join(arguments)}` failed: {done.stderr.strip()[-1000:]}")
        return done.stdout

    def _run(self, *command: str, stdin: Any = subprocess.DEVNULL) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*self._inside, *command], stdin=stdin, capture_output=True, text=True, check=False)


def _write(path: Path, document: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(document))


def _hierarchies() -> list[Path]:
    """The mounted hierarchies of control groups: one in version 2, one for each controller in version 1."""
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS]
    return [folder for folder in CGROUPS.iterdir() if folder.is_dir() and not folder.is_symlink()]


def _make_cgroups() -> None:
    for hierarchy in _hierarchies():
        (hierarchy / CGROUP).mkdir(exist_ok=True)


def _remove_cgroups() -> None:
    for hierarchy in _hierarchies():
        folder = hierarchy / CGROUP
        groups = [path for path in folder.rglob("*") if path.is_dir()]
        for group in (*sorted(groups, reverse=True), folder):
            # One that holds a process still is left to the next start.
            with contextlib.suppress(OSError):
                group.rmdir()
