"""What start-up costs on Kubeflow: the same pipeline with grouped nodes and with one task per node.

Every node is answered from the cache, so what is left is containers, imports and launchers. Both ways run in this
process, on the same Docker engine and MariaDB, through KFP's own local executor. On a cluster the scheduling of pods
comes on top, once per task.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from data.prepare import prepare, slice_spans
from tests.kubeflow.cluster import open_cluster
from tests.services.up import up


def main() -> None:
    """Prints seconds per way."""
    services = up(["docker", "mariadb", "image"])
    with tempfile.TemporaryDirectory(prefix="flightdeck-startup-") as folder:
        root = Path(folder)
        root.chmod(0o755)
        prepare(root / "year")
        slice_spans(root / "year", root / "spans", rows_per_span=1500, spans=(1, 2))
        (root / "cluster").mkdir()
        cluster = open_cluster(services, root / "spans", root / "cluster")
        grouped = cluster.compile(root / "grouped.yaml")
        single = cluster.compile(root / "one-task-per-node.yaml", "--one-task-per-node")
        print("Filling the cache ...", flush=True)
        cluster.submit(grouped, window="1:2")
        print(f"{'way':<20} {'tasks':>5} {'seconds, all nodes cached':>26}")
        for pipeline in (grouped, single):
            begun = time.monotonic()
            cluster.submit(pipeline, window="1:2")
            seconds = time.monotonic() - begun
            tasks = len(list(max((cluster.workspace / "kfp").iterdir()).iterdir()))
            print(f"{pipeline.stem:<20} {tasks:>5} {seconds:>26.1f}", flush=True)


if __name__ == "__main__":
    main()
