"""A Flink cluster on loopback as docs/beam.md wants it, and Beam's job server: Flink is PyPI's, Java the machine's.

A JobManager, and TaskManagers with a worker pool each. Its settings are those of the cluster on Kubernetes.
"""

import contextlib
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.services import engine
from tests.services.daemon import ROOT, ServiceError, from_pypi

FLINK = "apache-flink-libraries==1.20.5"
HOME = ROOT / ".tools" / "flink"
MANIFEST = ROOT / "deploy" / "kubernetes" / "components" / "flink" / "cluster.yaml"
JAR = "FLINK_JOB_SERVER_JAR"
_SECONDS = 120
# What Flink's own scripts open to it on Java 17.
_OPENED = (
    *("lang", "lang.reflect", "net", "io", "nio", "text", "time", "util"),
    *("util.concurrent", "util.concurrent.atomic", "util.concurrent.locks"),
)
_OPEN = [f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in (*(f"java.{part}" for part in _OPENED), "sun.nio.ch")]

_LOG = """rootLogger.level = INFO
rootLogger.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %-5p %c{1} %m%n
"""

_SUBMIT = """
import org.apache.flink.configuration.GlobalConfiguration;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;

public class Submit {
    public static void main(String[] arguments) {
        var configuration = GlobalConfiguration.loadConfiguration(arguments[0]);
        configuration.setString("execution.target", "remote");
        configuration.setString("parallelism.default", "2");
        var settings = EnvironmentSettings.newInstance().inBatchMode().withConfiguration(configuration).build();
        var tables = TableEnvironment.create(settings);
        for (int number = 1; number < arguments.length; number++) tables.executeSql(arguments[number]);
    }
}
"""


class Cluster:
    """A JobManager and its TaskManagers, each of which has one slot and a worker pool.

    Attributes:
        rest: the port of the JobManager's REST API.
        pool: HOST:PORT of the worker pool; the host means another address to each TaskManager.
    """

    def __init__(self, processes: contextlib.ExitStack, folder: Path, jar: Path | None) -> None:
        self.home, self.rest = distribution(), engine.free_port()
        self.pool = f"pool:{engine.free_port()}"
        self._processes, self._folder, self._java = processes, folder, java()
        self._hosts = itertools.count(2)
        self._task_managers: list[subprocess.Popen[bytes]] = []
        # As the manifests say: the job server's jar, too.
        self.classes = os.pathsep.join([f"{self.home}/lib/*", *([str(jar)] if jar else [])])
        settings, self._resources = deployed()
        self._configure(settings | {"jobmanager.rpc.port": engine.free_port(), "rest.port": self.rest})
        (folder / "log4j2.properties").write_text(_LOG)
        self._start("entrypoint.StandaloneSessionClusterEntrypoint", lambda: engine.listens(self.rest), ["-Xmx1g"])

    def ask(self, path: str) -> Any:
        """What the JobManager's REST API answers."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.rest}/{path}", timeout=30) as answer:
            return json.load(answer)

    def slots(self) -> int:
        """The number of slots that TaskManagers offer; 0 as long as there is no answer."""
        try:
            return self.ask("overview")["slots-total"]
        except OSError:
            return 0

    def add_task_manager(self) -> None:
        """Starts a TaskManager with a worker pool, and returns when its slot is there."""
        host, before = f"127.0.0.{next(self._hosts)}", self.slots()
        # This file is all that such a JVM knows of names, and it looks its own up.
        names = self._folder / f"hosts-{host}"
        names.write_text(f"127.0.0.1 localhost {socket.gethostname()}\n{host} pool\n")
        self._processes.enter_context(engine.worker_pool(address=f"{host}:{self.pool.rpartition(':')[2]}"))
        options, settings = self._memory()
        options.append(f"-Djdk.net.hosts.file={names}")
        self._task_managers.append(
            self._start("taskexecutor.TaskManagerRunner", lambda: self.slots() > before, options, settings)
        )

    def lose_task_manager(self) -> None:
        """Kills the oldest TaskManager with SIGKILL, and starts another, as Kubernetes would."""
        lost, before = self._task_managers.pop(0), self.slots()
        lost.kill()
        lost.wait()
        wait_for(lambda: self.slots() < before, "the JobManager to miss a TaskManager")
        self.add_task_manager()

    def jobs(self) -> list[dict[str, Any]]:
        """All jobs, the oldest first."""
        return sorted(self.ask("jobs/overview")["jobs"], key=lambda job: job["start-time"])

    def losses(self, job: str) -> list[str]:
        """Why parts of a job were run again: names of Java's exceptions."""
        return [entry["exceptionName"] for entry in self.ask(f"jobs/{job}/exceptions")["exceptionHistory"]["entries"]]

    def submit(self, *statements: str) -> None:
        """Has Flink's planner of SQL submit a job, which is a batch job."""
        source = self._folder / "Submit.java"
        source.write_text(_SUBMIT)
        command = [self._java, *_OPEN, "-cp", self.classes, str(source), str(self._folder), *statements]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
        if done.returncode:
            raise ServiceError(f"Flink did not take this: {statements}\n{(done.stdout + done.stderr)[-3000:]}")

    def _configure(self, settings: dict[str, Any]) -> None:
        here = dict.fromkeys(("jobmanager.rpc.address", "jobmanager.bind-host", "rest.address"), "127.0.0.1")
        here |= dict.fromkeys(("rest.bind-address", "taskmanager.host", "taskmanager.bind-host"), "127.0.0.1")
        here |= dict.fromkeys(("io.tmp.dirs", "web.tmpdir"), str(self._folder))
        (self._folder / "config.yaml").write_text(yaml.safe_dump(settings | here))

    def _memory(self) -> tuple[list[str], list[str]]:
        """Options and settings of a TaskManager that come of the memory of its pod, as Flink's scripts find them."""
        command = [self._java, "-cp", f"{self.home}/bin/bash-java-utils.jar{os.pathsep}{self.classes}"]
        command += ["org.apache.flink.runtime.util.bash.BashJavaUtils", "GET_TM_RESOURCE_PARAMS"]
        command += ["--configDir", str(self._folder), f"-Dtaskmanager.memory.process.size={self._resources['memory']}"]
        command += [f"-Dtaskmanager.cpu.cores={self._resources['cpu']}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
        mark = "BASH_JAVA_UTILS_EXEC_RESULT:"
        results = [line.removeprefix(mark).split() for line in done.stdout.splitlines() if line.startswith(mark)]
        assert len(results) == 2, done.stdout + done.stderr
        return results[0], results[1]

    def _start(
        self, program: str, ready: Callable[[], bool], options: Sequence[str], settings: Sequence[str] = ()
    ) -> subprocess.Popen[bytes]:
        command = [self._java, *_OPEN, *options, f"-Dlog4j2.configurationFile={self._folder / 'log4j2.properties'}"]
        command += ["-cp", self.classes, f"org.apache.flink.runtime.{program}", "--configDir", str(self._folder)]
        return self._processes.enter_context(engine.server([*command, *settings], ready))


@contextlib.contextmanager
def cluster(jar: Path | None = None) -> Iterator[Cluster]:
    """A session cluster of two TaskManagers, with the jar of Beam's job server on its class path."""
    with tempfile.TemporaryDirectory(prefix="flink-") as folder, contextlib.ExitStack() as processes:
        running = Cluster(processes, Path(folder), jar)
        for _ in range(2):
            running.add_task_manager()
        yield running


@contextlib.contextmanager
def flink() -> Iterator[tuple[Cluster, tuple[str, ...]]]:
    """A cluster with Beam's job server, and the settings that run Beam there; needs that one's jar."""
    jar, port = job_server_jar(), engine.free_port()
    with cluster(jar) as running, tempfile.TemporaryDirectory(prefix="beam-") as folder:
        command = [java(), *_OPEN, "-cp", str(jar), "org.apache.beam.runners.flink.FlinkJobServerDriver"]
        command += [f"--flink-master=127.0.0.1:{running.rest}", "--job-host=127.0.0.1", f"--job-port={port}"]
        command += [f"--artifact-port={engine.free_port()}", f"--artifacts-dir={folder}", "--expansion-port=-1"]
        with engine.server(command, lambda: engine.listens(port)):
            yield running, engine.settings(f"127.0.0.1:{port}", running.pool)


def deployed() -> tuple[dict[str, str], dict[str, str]]:
    """The settings of the cluster on Kubernetes that mean something elsewhere, and the resources of a TaskManager."""
    (spec,) = [
        document["spec"]
        for document in yaml.safe_load_all(MANIFEST.read_text())
        if document["kind"] == "FlinkDeployment"
    ]
    settings = {
        name: value
        for name, value in spec["flinkConfiguration"].items()
        if not name.startswith(("kubernetes.", "slotmanager.")) and not name.endswith(".port")
    }
    return settings, {name: str(value) for name, value in spec["taskManager"]["resource"].items()}


def distribution() -> Path:
    """The folder with Flink's jars, which come from PyPI unless they are there already."""
    (home,) = from_pypi(FLINK, HOME).glob("lib/python*/site-packages/pyflink")
    return home


def java() -> str:
    """The machine's Java; raises a ServiceError if there is none."""
    program = shutil.which("java")
    if program is None:
        raise ServiceError("Flink needs Java, and there is no `java` on the search path: install a JDK 17.")
    return program


def job_server_jar() -> Path:
    """The jar of Beam's job server that the environment names; raises a ServiceError if it names none."""
    named = os.environ.get(JAR)
    if not named or not Path(named).is_file():
        raise ServiceError(
            f"{JAR} must name the jar of org.apache.beam:beam-runners-flink-1.20-job-server, of the version of Beam in "
            f"requirements/dev.txt; it names {named or 'nothing'}{', which is no file' if named else ''}."
        )
    return Path(named).resolve()


def wait_for(condition: Callable[[], Any], what: str, seconds: float = _SECONDS) -> None:
    """Returns when a condition holds; raises a ServiceError if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise ServiceError(f"Waited {seconds:.0f} s for {what}, in vain.")
        time.sleep(0.2)


def main() -> int:
    """Gets all that the tests of Flink need, or says in one sentence what is missing."""
    try:
        java()
        job_server_jar()
        distribution()
    except ServiceError as missing:
        print(missing, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
