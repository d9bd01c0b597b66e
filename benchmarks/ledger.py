"""How long the ledger's questions take on a store with 1,000 runs and 20,000 artifacts, on SQLite and on MariaDB.

The store is written through the API of ML Metadata, in the shape that TFX and the recorder give it. Each question is a
whole process of `flightdeck runs`, imports included. Beside it, on the same store, is what one would do without the
records: ask ML Metadata run by run and artifact by artifact (such a program knows no metrics, which are in files).

    python -m benchmarks.ledger

MariaDB is that of the tests; it is started if need be, and installed if it is not there (`--no-mariadb`: leave it
out). The exit status is 1 if a question takes longer than the limit.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import ml_metadata
from ml_metadata.proto import metadata_store_pb2

from ledger.outputs import event_of
from ledger.recorder import Recorder
from ledger.run_record import NodeOutcome

LIMIT_SECONDS = 2.0
# node -> (output key -> artifact type, inputs as (node, output key)); 20 artifacts a run. A Transform with all outputs
# that TFX knows, and a Tuner.
GRAPH: dict[str, tuple[dict[str, str], tuple[tuple[str, str], ...]]] = {
    "CuratedSchema": ({"schema": "Schema"}, ()),
    "SpanExampleGen": ({"examples": "Examples"}, ()),
    "StatisticsGen": ({"statistics": "ExampleStatistics"}, (("SpanExampleGen", "examples"),)),
    "SchemaGen": ({"schema": "Schema"}, (("StatisticsGen", "statistics"),)),
    "ExampleValidator": (
        {"anomalies": "ExampleAnomalies"},
        (("StatisticsGen", "statistics"), ("CuratedSchema", "schema")),
    ),
    "DataGate": ({"report": "DataGateReport"}, (("ExampleValidator", "anomalies"), ("StatisticsGen", "statistics"))),
    "Transform": (
        {
            "transform_graph": "TransformGraph",
            "transformed_examples": "Examples",
            "pre_transform_schema": "Schema",
            "pre_transform_stats": "ExampleStatistics",
            "post_transform_schema": "Schema",
            "updated_analyzer_cache": "TransformCache",
        },
        (("SpanExampleGen", "examples"), ("CuratedSchema", "schema")),
    ),
    "Tuner": (
        {"best_hyperparameters": "HyperParameters"},
        (("SpanExampleGen", "examples"), ("Transform", "transform_graph")),
    ),
    "Trainer": (
        {"model": "Model", "model_run": "ModelRun"},
        (
            *(("SpanExampleGen", "examples"), ("Transform", "transform_graph"), ("CuratedSchema", "schema")),
            ("Tuner", "best_hyperparameters"),
        ),
    ),
    "Evaluator": (
        {"evaluation": "ModelEvaluation", "blessing": "ModelBlessing"},
        (("SpanExampleGen", "examples"), ("Trainer", "model"), ("CuratedSchema", "schema")),
    ),
    "Scores": ({"scores": "Scores"}, (("SpanExampleGen", "examples"), ("Trainer", "model"))),
    "InfraValidator": ({"blessing": "InfraBlessing"}, (("Trainer", "model"), ("SpanExampleGen", "examples"))),
    "Pusher": (
        {"pushed_model": "PushedModel"},
        (("Trainer", "model"), ("Evaluator", "blessing"), ("InfraValidator", "blessing")),
    ),
}
PIPELINE = "a-pipeline"
BEGIN = datetime(2013, 1, 1, tzinfo=UTC)
SLICES = 22


@dataclasses.dataclass(frozen=True)
class Place:
    """A store, and how a command is told of it.

    Attributes:
        name: for the table.
        connection: for ML Metadata.
        options: of the command.
        environment: of the command.
    """

    name: str
    connection: metadata_store_pb2.ConnectionConfig
    options: tuple[str, ...]
    environment: dict[str, str]


class Writer:
    """Writes runs as TFX and the recorder do, but a run in one transaction and not in forty."""

    def __init__(self, store: ml_metadata.MetadataStore) -> None:
        """Registers the types in an empty store."""
        self._store = store
        self._recorder = Recorder(store)
        self._contexts = {
            name: store.put_context_type(
                metadata_store_pb2.ContextType(name=name), can_add_fields=True, can_omit_fields=True
            )
            for name in ("pipeline", "pipeline_run", "node")
        }
        names = {name for outputs, _ in GRAPH.values() for name in outputs.values()}
        self._artifacts = {
            name: store.put_artifact_type(metadata_store_pb2.ArtifactType(name=name)) for name in sorted(names)
        }
        self._executions = {
            node: store.put_execution_type(metadata_store_pb2.ExecutionType(name=f"tfx.components.{node}"))
            for node in GRAPH
        }
        self._nodes: list[int] = []
        self._random = random.Random(0)

    def write(self, index: int) -> str:
        """Writes the run with a number, and returns its name."""
        started = BEGIN + timedelta(hours=index)
        run_id = f"{started:%Y%m%d-%H%M%S}-{index:04x}"
        keys = [(node, key) for node, (outputs, _) in GRAPH.items() for key in outputs]
        place = {key: number for number, key in enumerate(keys)}
        artifacts = [self._artifact(index, node, key) for node, key in keys]
        executions = [
            metadata_store_pb2.Execution(
                type_id=self._executions[node],
                last_known_state=metadata_store_pb2.Execution.COMPLETE,
                custom_properties={"module": metadata_store_pb2.Value(string_value=f"models.{node.lower()}" * 4)},
            )
            for node in GRAPH
        ]
        edges = []
        for number, (node, (outputs, inputs)) in enumerate(GRAPH.items()):
            edges += [(number, place[node, key], event_of(key, metadata_store_pb2.Event.OUTPUT)) for key in outputs]
            edges += [
                (number, place[producer, key], event_of(key, metadata_store_pb2.Event.INPUT))
                for producer, key in inputs
            ]
        execution_ids, artifact_ids, _ = self._store.put_lineage_subgraph(
            executions,
            artifacts,
            [
                metadata_store_pb2.Context(type_id=self._contexts["pipeline"], name=PIPELINE),
                metadata_store_pb2.Context(type_id=self._contexts["pipeline_run"], name=run_id),
            ],
            edges,
            reuse_context_if_already_exist=True,
        )
        self._attach(execution_ids)
        self._record(index, run_id, started, artifact_ids[place["Trainer", "model"]])
        return run_id

    def _artifact(self, index: int, node: str, key: str) -> metadata_store_pb2.Artifact:
        artifact = metadata_store_pb2.Artifact(
            type_id=self._artifacts[GRAPH[node][0][key]],
            uri=f"/workspace/artifacts/{node}/{key}/{index}",
            state=metadata_store_pb2.Artifact.LIVE,
        )
        artifact.custom_properties["tfx_version"].string_value = "1.21.0"
        artifact.custom_properties["is_external"].int_value = 0
        if key == "examples":
            artifact.custom_properties["spans"].string_value = json.dumps(_spans(index))
            artifact.custom_properties["row_counts"].string_value = '{"train": 3000, "eval": 1500}'
            artifact.custom_properties["input_fingerprint"].string_value = f"sha256:{index:064x}"
        elif key == "blessing":
            artifact.custom_properties["blessed"].int_value = int(index % 3 == 0)
        elif key == "pushed_model":
            artifact.custom_properties["pushed"].int_value = int(index % 3 == 0)
            artifact.custom_properties["pushed_version"].string_value = str(index) if index % 3 == 0 else ""
        return artifact

    def _attach(self, execution_ids: Sequence[int]) -> None:
        """TFX has a context for each node of the pipeline, with its executions in all runs."""
        if not self._nodes:
            self._nodes = self._store.put_contexts(
                [
                    metadata_store_pb2.Context(type_id=self._contexts["node"], name=f"{PIPELINE}.{node}")
                    for node in GRAPH
                ]
            )
        self._store.put_attributions_and_associations(
            [],
            [
                metadata_store_pb2.Association(context_id=context, execution_id=execution)
                for context, execution in zip(self._nodes, execution_ids, strict=True)
            ],
        )

    def _record(self, index: int, run_id: str, started: datetime, model_id: int) -> None:
        auc = round(self._random.uniform(0.60, 0.72), 6)
        put = self._recorder.put_document
        pushed = index % 3 == 0
        documents = {
            "settings": put(
                {
                    "model": {"epochs": index % 9, "seed": index},
                    "evaluation": {"metrics": [{"name": "AUC", "better": "higher"}]},
                }
            ),
            "packages": put({f"package-{number}": "1.2.3" for number in range(350)}),
            "sources": put({f"models/file_{number}.py": "0123456789abcdef" for number in range(60)}),
            "files": put(
                [
                    {"name": f"{span}/data.parquet", "span": span, "bytes": 9, "sha256": f"{span:064x}"}
                    for span in _spans(index)
                ]
            ),
            "slices": put(
                [
                    {
                        "slice": f"column={number}",
                        "rows": 100 * number,
                        "challenger": {"auc": auc - number / 1000, "example_count": 100.0 * number},
                        "champion": {"auc": 0.65},
                    }
                    for number in range(SLICES)
                ]
            ),
        }
        self._recorder.write(
            run_id,
            kind="run",
            pipeline=PIPELINE,
            runner="local",
            user="ann",
            host="a-machine",
            started=started,
            seconds=70.0 + index % 50,
            loading_seconds=20.0,
            peak_mb=2000.0,
            outcome="pushed" if pushed else "not blessed",
            reasons=() if pushed else ("auc is too low",),
            commit=f"{index // 7:040x}",
            branch="main",
            dirty=index % 2 == 0,
            settings=f"{index:012x}",
            lock="0123456789ab",
            window=f"{_spans(index)[0]}:{_spans(index)[-1]}",
            spans={"train": _spans(index)[:-1], "eval": _spans(index)[-1:]},
            rows={"train": 3000, "eval": 1500},
            data=f"sha256:{index:064x}",
            hyperparameters={
                "epochs": index % 9,
                "learning_rate": 0.001 * (1 + index % 5),
                "hidden_units": [64, 32],
                "dropout": 0.2,
                "batch_size": 256,
                "seed": index,
            },
            main_metric="auc",
            main_better="higher",
            metrics={"auc": auc, "binary_crossentropy": 1 - auc, "example_count": 1500.0},
            champion_metrics={"auc": 0.65, "binary_crossentropy": 0.35, "example_count": 1500.0},
            thresholds={"auc": {"at_least": 0.6, "may_lose": 0.01}},
            model_id=model_id,
            version=str(index) if pushed else None,
            pushed_to="/workspace/models/a-pipeline" if pushed else None,
            nodes=tuple(
                NodeOutcome(node_id=node, state="done", seconds=5.0, peak_mb=1900.0, ended=started) for node in GRAPH
            ),
            documents=documents,
        )


def _spans(index: int) -> list[int]:
    return list(range(1 + index // 250, 7 + index // 250))


def without_records(question: str, connection: metadata_store_pb2.ConnectionConfig, run_id: str) -> None:
    """Answers as well as ML Metadata's own records allow, one query at a time.

    Args:
        question: list, show or lineage.
        connection: of the store.
        run_id: for show and lineage.
    """
    store = ml_metadata.MetadataStore(connection)

    def described(context: metadata_store_pb2.Context) -> str:
        lines = []
        for execution in store.get_executions_by_context(context.id):
            for event in store.get_events_by_execution_ids([execution.id]):
                (artifact,) = store.get_artifacts_by_id([event.artifact_id])
                if event.type == metadata_store_pb2.Event.OUTPUT:
                    lines.append(f"{artifact.type} {artifact.uri}")
        return f"{context.name} {lines}"

    if question == "list":
        for context in store.get_contexts_by_type("pipeline_run"):
            print(described(context))
        return
    run = store.get_context_by_type_and_name("pipeline_run", run_id)
    if run is None:
        raise ValueError(f"There is no run {run_id}.")
    if question == "show":
        print(described(run))
        return
    executions = store.get_executions_by_context(run.id)
    waiting = [
        event.artifact_id for execution in executions for event in store.get_events_by_execution_ids([execution.id])
    ]
    seen = set(waiting)
    while waiting:
        artifact = waiting.pop()
        for event in store.get_events_by_artifact_ids([artifact]):
            if event.type == metadata_store_pb2.Event.OUTPUT:
                for step in store.get_events_by_execution_ids([event.execution_id]):
                    if step.type == metadata_store_pb2.Event.INPUT and step.artifact_id not in seen:
                        seen.add(step.artifact_id)
                        waiting.append(step.artifact_id)
    print(len(seen))


class Seconds(NamedTuple):
    """What a process took.

    Attributes:
        wall: seconds on the clock.
        cpu: seconds of this process alone, not of a server; the same on a busy machine.
    """

    wall: float
    cpu: float


def generate(place: Place, runs: int) -> list[str]:
    """Fills a store, and returns the names of its runs."""
    store = ml_metadata.MetadataStore(place.connection)
    writer = Writer(store)
    started = time.monotonic()
    names = []
    for index in range(runs):
        names.append(writer.write(index))
        if (index + 1) % 100 == 0:
            print(f"{place.name}: {index + 1:,} runs after {time.monotonic() - started:.0f} s", flush=True)
    artifacts = len(store.get_artifacts())
    print(
        f"{place.name}: {len(store.get_contexts_by_type('pipeline_run')):,} runs, {artifacts:,} artifacts", flush=True
    )
    return names


def measured(command: Sequence[str], environment: dict[str, str], repeats: int) -> list[Seconds]:
    """What whole processes take.

    Raises:
        RuntimeError: the command failed.
    """
    seconds = []
    for _ in range(repeats):
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})
        wall, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed: {done.stdout[-500:]}{done.stderr[-500:]}")
        seconds.append(Seconds(wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime))
    return seconds


def asked(place: Place, question: Sequence[str], repeats: int = 1) -> list[Seconds]:
    """What a question to the ledger takes.

    Args:
        place: the store.
        question: the words after `flightdeck runs`.
        repeats: how often it is asked.

    Raises:
        RuntimeError: it was not answered.
    """
    command = [sys.executable, "-m", "flightdeck", "runs", *question, *place.options]
    return measured(command, place.environment, repeats)


@contextlib.contextmanager
def on_sqlite() -> Iterator[Place]:
    """A new store in a file, removed afterwards; in memory if it fits, for writing it is thousands of commits."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 500_000_000
    with tempfile.TemporaryDirectory(dir=memory if roomy else None) as folder:
        connection = metadata_store_pb2.ConnectionConfig()
        connection.sqlite.filename_uri = str(Path(folder) / "metadata.sqlite")
        connection.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
        yield Place("SQLite", connection, ("--set", f"workspace={folder}"), {})


@contextlib.contextmanager
def on_mariadb() -> Iterator[Place]:
    """A new database of the tests' server, removed afterwards."""
    from pipeline import store
    from tests.services import mariadb

    with mariadb.running() as server, server.passing_database() as environment:
        yield Place("MariaDB", store.from_environment(5, environment), ("--set", "metadata.kind=mysql"), environment)


def measure(place: Place, names: Sequence[str], repeats: int) -> list[tuple[str, list[Seconds], list[Seconds]]]:
    """The seconds of each question, of ours and without records."""
    first, other = names[len(names) // 2], names[len(names) // 3]
    serialized = place.connection.SerializeToString().hex()
    rows = []
    for question, naive in (
        (("list",), "list"),
        (("list", "--metric", "auc>0.69", "--sort", "auc", "--desc"), None),
        (("list", "--json"), None),
        (("best", "--metric", "auc"), "list"),
        (("show", first), "show"),
        (("show", "latest"), None),
        (("note", first, "measured"), None),
        (("compare", first, other), None),
        (("lineage", first), "lineage"),
    ):
        ours = asked(place, question, repeats)
        theirs = []
        if naive:
            program = [sys.executable, "-m", "benchmarks.ledger", "--without-records", naive, "--run", first]
            # The address holds a password on MariaDB, so it is not an argument.
            theirs = measured(program, {"BENCHMARK_CONNECTION": serialized}, 1 if naive == "list" else repeats)
        shown = " ".join({first: "RUN", other: "ANOTHER"}.get(word, word) for word in question)
        rows.append((shown, ours, theirs))
    return rows


def main() -> int:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--no-mariadb", action="store_true")
    parser.add_argument("--without-records", choices=("list", "show", "lineage"), help=argparse.SUPPRESS)
    parser.add_argument("--run", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.without_records:
        connection = metadata_store_pb2.ConnectionConfig.FromString(bytes.fromhex(os.environ["BENCHMARK_CONNECTION"]))
        without_records(options.without_records, connection, options.run)
        return 0
    slow = False
    for opened in (on_sqlite,) if options.no_mariadb else (on_sqlite, on_mariadb):
        with opened() as place:
            rows = measure(place, generate(place, options.runs), options.repeats)
        print(f"\n{place.name + ': seconds of whole processes':<50} median    max    CPU   without records")
        for question, ours, theirs in rows:
            wall = [sample.wall for sample in ours]
            beside = f"{statistics.median(sample.wall for sample in theirs):17.2f}" if theirs else ""
            cpu = statistics.median(sample.cpu for sample in ours)
            print(f"  runs {question:<44} {statistics.median(wall):5.2f}  {max(wall):5.2f}  {cpu:5.2f} {beside}")
            slow = slow or statistics.median(wall) > LIMIT_SECONDS
        print()
    return int(slow)


if __name__ == "__main__":
    sys.exit(main())
