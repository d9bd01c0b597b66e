"""How much one service can answer, against the bare model, and how many of them a load needs.

Everything is measured in the same run on the same machine: the bare signature in a process of its own before and after
the service, which another process asks over connections that it keeps. The clients share the machine with the service,
so what a service reaches on a machine of its own is rather more; the processor time per request is the service's alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

import storage
from errors import FlightdeckError
from operations.inference import contract
from operations.serving import child
from operations.serving.load import Answered, Load, drive, joined
from operations.serving.versions import Versions, numbers

if TYPE_CHECKING:
    import aiohttp

    from operations.serving.settings import Serving, Settings

HOURS_PER_MONTH = 8760 / 12
_DISTINCT_BODIES = 32
_WARM_UP_SECONDS = 1.0
_BARE_SECONDS = 2.0
_POLL_SECONDS = 0.1
# How long one of two services that are compared is asked before it is the other one's turn: shorter than most of what
# else disturbs a machine, so that it meets both.
_TURN_SECONDS = 0.25


class BenchError(FlightdeckError):
    """It cannot be measured; the text says why and what to do."""


@dataclasses.dataclass(frozen=True)
class Level:
    """What one number of clients with one batch size saw.

    Attributes:
        cpu_ms: CPU time of the service per request.
        of_bare: the calls per second as a share of those of the bare signature with as many rows.
        errors: the first few failures, in words.
        unchecked_per_second: requests answered when they are not checked by the contract; None if there is nothing to
            check, or the settings check nothing.
    """

    rows: int
    clients: int
    requests_per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    cpu_ms: float
    of_bare: float
    failed: int
    errors: tuple[str, ...]
    unchecked_per_second: float | None = None

    @property
    def cost_of_checks(self) -> float | None:
        """The share of the requests per second that checking them costs; below zero if chance was larger."""
        if self.unchecked_per_second is None:
            return None
        return 1 - self.requests_per_second / self.unchecked_per_second

    @property
    def cores(self) -> float:
        """How many cores the service kept busy."""
        return self.requests_per_second * self.cpu_ms / 1000


@dataclasses.dataclass(frozen=True)
class Bare:
    """The model without a service, one thread calling it.

    Attributes:
        calls_per_second: by TensorFlow's own signature, the mean of `before` and `after` the service was measured.
        session_calls_per_second: the way the service calls the model.
    """

    rows: int
    calls_per_second: float
    before: float
    after: float
    session_calls_per_second: float
    p50_ms: float
    p99_ms: float


@dataclasses.dataclass(frozen=True)
class Bench:
    """All that was measured: `bare` per batch size, `levels` per batch size and number of clients.

    The service and its clients share the cores of the machine. The memory is that of the service at the end.
    """

    version: int
    machine_cores: int
    memory_mb: float
    bare: tuple[Bare, ...]
    levels: tuple[Level, ...]


@dataclasses.dataclass(frozen=True)
class CapacityPlan:
    """How many services a load needs.

    Attributes:
        load: expected requests per second.
        wanted: the load and its margin.
        per_replica: requests per second that one service reached with `clients`, at `p99_ms`.
        cores_per_replica: that it kept busy.
        cost_per_month: of all cores of the nodes, whether busy or not; None without a price.
    """

    rows: int
    load: float
    wanted: float
    per_replica: float
    clients: int
    p99_ms: float
    cores_per_replica: float
    replicas: int
    replicas_per_node: int
    nodes: int
    cost_per_month: float | None


def real_rows(settings: Settings, wanted: int) -> list[dict[str, Any]]:
    """Returns rows of the newest span with the columns that the contract lets a pipeline read, without the label.

    Numbers are numpy's, so that a float32 is written with the digits that it has; missing values are None.

    Raises:
        SpanError: the span cannot be read.
        BenchError: there is none.
    """
    from data import spans

    folder = storage.at(settings.spans)
    known = spans.folders(folder)
    if not known:
        raise BenchError(
            f"There are no spans in {folder} to take rows from; prepare them with: flightdeck data prepare"
        )
    names = list(settings.contract().ingested(labelled=False))
    table = spans.read(folder, max(known)).select(names)
    # Rows of the whole span, and not of its first hours.
    indices = np.linspace(0, table.num_rows - 1, min(wanted, table.num_rows)).astype(int)
    columns = {name: _plain(table.column(name).take(indices)) for name in names}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def measure(
    settings: Settings,
    rows: Sequence[Mapping[str, Any]],
    batches: Sequence[int] = (1, 64),
    clients: Sequence[int] = (1, 2, 4, 8, 16),
    seconds: float = 5.0,
    note: Callable[[str], None] = lambda text: None,
) -> Bench:
    """Measures the newest version that the settings serve.

    The payload log is written, as in production, but into a folder that is removed in the end: what is measured here
    must not be taken for demand. If requests are checked by a contract, the service serves a copy of the version
    without its rules, too. The two are asked in turns, so that they differ in nothing else: two processes with the same
    settings are up to 10 % apart.

    Rows are repeated if there are too few, and columns that the model does not take are left out. Each number of
    clients is measured with each batch size, for `seconds`.

    Raises:
        ServingError: nothing can be served.
        BenchError: the rows are no use for the model.
    """
    if not rows:
        raise BenchError("There are no rows to ask with.")
    name, models, chosen = settings.use_case.name, storage.at(settings.pushed), settings.serving
    Versions(models, chosen).require_any()
    folder = models / str(numbers(models)[0])
    with tempfile.TemporaryDirectory() as temporary:
        note("Starting the service")
        served, payloads = Path(temporary, "versions"), Path(temporary, "payloads")
        versions = _serve(folder, served, unchecked=chosen.validation != "off")
        chosen = chosen.model_copy(update={"keep_versions": len(versions)})
        with child.serving(name, served, chosen, payloads if chosen.payloads.enabled else None, None) as service:
            model = f"{service.url}/v1/models/{name}"
            inputs = asyncio.run(_inputs(model, versions))
            asked = _batches(rows, inputs, batches)
            note("Calling the bare signature")
            before = bare_calls(folder, settings.serving, asked, min(_BARE_SECONDS, seconds))
            measured: list[tuple[int, list[tuple[Load, float]]]] = []
            turns = [(service, f"/v1/models/{name}/versions/{version}:predict") for version in versions]
            for size, groups in asked.items():
                bodies = [orjson.dumps({"instances": group}, option=orjson.OPT_SERIALIZE_NUMPY) for group in groups]
                for count in clients:
                    note(f"{count} clients, {size} rows per request")
                    measured.append((size, in_turns(turns, bodies, count, seconds, size)))
            memory = service.memory_bytes() / 1e6
        note("Calling the bare signature again")
        after = bare_calls(folder, settings.serving, asked, min(_BARE_SECONDS, seconds))
    bare = tuple(_combined(size, before[size], after[size]) for size in asked)
    rates = {signature.rows: signature.calls_per_second for signature in bare}
    levels = tuple(_level(size, loads, rates[size]) for size, loads in measured)
    return Bench(versions[0], os.cpu_count() or 1, memory, bare, levels)


def plan(
    bench: Bench,
    load: float,
    margin: float,
    cores_per_node: float,
    price_per_core_hour: float | None = None,
    p99_ms: float | None = None,
    at_least: int = 1,
) -> list[CapacityPlan]:
    """Returns, per batch size that was measured, what a load needs.

    One service is counted with the level at which it answered most requests, among those without an error and, if that
    is asked for, with a p99 below a limit. It is given the cores that it kept busy there. A node runs as many services
    as have room on it; at least one, which is then slower if the node has fewer cores than it wants.

    ``wanted = load · (1 + margin)``, ``replicas = ⌈wanted / per_replica⌉``, ``nodes = ⌈replicas / replicas_per_node⌉``,
    ``cost = nodes · cores_per_node · price · 730 h``.

    A margin of 0.3 is 30 % more than the load. `at_least` is the minimum number of services,
    such as 2 so that one may fail.

    Raises:
        BenchError: no level of a batch size is without errors and within the limit; a number makes no sense.
    """
    check_load(load, margin, cores_per_node, price_per_core_hour)
    plans = []
    for rows in dict.fromkeys(level.rows for level in bench.levels):
        fit = [
            level
            for level in bench.levels
            if level.rows == rows and not level.failed and (p99_ms is None or level.p99_ms <= p99_ms)
        ]
        if not fit:
            limit = "" if p99_ms is None else f" and with a p99 of at most {p99_ms:g} ms"
            raise BenchError(f"With {rows} rows per request, nothing was measured without errors{limit}.")
        best = max(fit, key=lambda level: level.requests_per_second)
        # A node with fewer cores than one service wants slows that down in proportion.
        share = min(1.0, cores_per_node / best.cores) if best.cores else 1.0
        per_replica = best.requests_per_second * share
        wanted = load * (1 + margin)
        replicas = max(at_least, math.ceil(wanted / per_replica))
        per_node = max(1, math.floor(cores_per_node / best.cores)) if best.cores else 1
        nodes = math.ceil(replicas / per_node)
        cost = None
        if price_per_core_hour is not None:
            cost = nodes * cores_per_node * price_per_core_hour * HOURS_PER_MONTH
        plans.append(
            CapacityPlan(
                rows, load, wanted, per_replica, best.clients, best.p99_ms, min(best.cores, cores_per_node), replicas,
                per_node, nodes, cost,
            )
        )  # fmt: skip
    return plans


def check_load(load: float, margin: float, cores_per_node: float, price_per_core_hour: float | None = None) -> None:
    """Refuses numbers that no plan can be made of; see `plan`. Worth doing before minutes of measuring.

    Raises:
        BenchError: one of them makes no sense.
    """
    for name, value, least in (("load", load, 1e-9), ("margin", margin, 0), ("number of cores", cores_per_node, 1e-9)):
        if not (math.isfinite(value) and value >= least):
            raise BenchError(f"The {name} must be a number {'above' if least else 'from'} 0 (got {value:g}).")
    if price_per_core_hour is not None and not (math.isfinite(price_per_core_hour) and price_per_core_hour >= 0):
        raise BenchError(f"The price must be a number from 0 (got {price_per_core_hour:g}).")


def _plain(column: Any) -> list[Any]:
    """The values of an Arrow column; numbers as numpy's of the column's type."""
    import pyarrow as pa

    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        return column.to_pylist()
    kind = column.type.to_pandas_dtype()
    return [None if value is None or value != value else kind(value) for value in column.to_pylist()]


def _batches(rows: Sequence[Mapping[str, Any]], inputs: Sequence[str], sizes: Sequence[int]) -> dict[int, list[list]]:
    """For each size a number of different batches with the columns that the model takes."""
    if not set(inputs) & set(rows[0]):
        raise BenchError(f"The rows have none of the columns that the model takes: {', '.join(sorted(inputs))}.")
    kept = [{name: row[name] for name in inputs if name in row} for row in rows]
    return {
        size: [
            [kept[(start * size + row) % len(kept)] for row in range(size)]
            for start in range(max(1, min(_DISTINCT_BODIES, len(kept) // size)))
        ]
        for size in dict.fromkeys(sizes)
    }


def _serve(version: Path, folder: Path, unchecked: bool) -> list[int]:
    """Puts a version into a folder to serve, and a copy without rules if it has a contract; returns their numbers.

    What is predicted stays in the contract of the copy, so that the two answer alike.
    """
    number = int(version.name)
    shutil.copytree(version, folder / version.name)
    if not (unchecked and (version / contract.FILE).is_file()):
        return [number]
    shutil.copytree(version, folder / str(number + 1))
    unruled = folder / str(number + 1) / contract.FILE
    with contextlib.suppress(ValueError, TypeError):  # A contract that is none is found when the version is loaded.
        unruled.write_text(json.dumps(json.loads(unruled.read_text(encoding="utf-8")) | {"columns": []}))
    return [number, number + 1]


async def _inputs(model: str, versions: Sequence[int]) -> list[str]:
    """The columns that a model takes, as soon as all versions of it are loaded."""
    import aiohttp

    async with aiohttp.ClientSession() as session:
        for version in versions:
            while not await _available(session, f"{model}/versions/{version}"):
                await asyncio.sleep(_POLL_SECONDS)
        async with session.get(f"{model}/metadata") as response:
            response.raise_for_status()
            document = await response.json()
    return list(document["metadata"]["signature_def"]["signature_def"]["predict_raw"]["inputs"])


async def _available(session: aiohttp.ClientSession, url: str) -> bool:
    """Whether a version is loaded; raises BenchError if it does not load."""
    async with session.get(url) as response:
        if response.status != 200:
            return False
        (status,) = (await response.json())["model_version_status"]
    if status["state"] == "END":
        raise BenchError(f"The newest version cannot be measured: {status['status']['error_message']}")
    return status["state"] == "AVAILABLE"


def in_turns(
    asked: Sequence[tuple[child.Child, str]],
    bodies: Sequence[bytes],
    clients: int,
    seconds: float,
    size: int,
    turn_seconds: float = _TURN_SECONDS,
) -> list[tuple[Load, float]]:
    """Asks services, each at a path, the same for `seconds`; returns what clients saw of each, and its CPU seconds.

    After a warm-up they take turns, so that noise meets all of them. A service whose work goes on after its answers, as
    that of a canary does, needs longer turns.
    """

    def check(answer: Answered) -> str | None:
        predictions = orjson.loads(answer.content).get("predictions", ())
        return None if len(predictions) == size else f"{len(predictions)} predictions for {size} rows"

    def ask(service: child.Child, path: str, seconds: float) -> Load:
        return asyncio.run(drive(service.url + path, bodies, clients, seconds, check))

    for service, path in asked:
        ask(service, path, min(_WARM_UP_SECONDS, seconds))
    loads: list[list[Load]] = [[] for _ in asked]
    cpu = [0.0 for _ in asked]
    # Each is first in half of the rounds: what the other one has left to do, such as its log, slows the second.
    rounds = 1 if len(asked) == 1 else 2 * max(1, round(seconds / (2 * turn_seconds)))
    for number in range(rounds):
        order = list(enumerate(asked))
        for index, (service, path) in order if number % 2 == 0 else reversed(order):
            started = service.cpu_seconds()
            loads[index].append(ask(service, path, seconds / rounds))
            cpu[index] += service.cpu_seconds() - started
    return [(joined(of_one), used) for of_one, used in zip(loads, cpu, strict=True)]


def bare_calls(
    folder: Path, settings: Serving, asked: Mapping[int, list[list]], seconds: float
) -> dict[int, dict[str, np.ndarray]]:
    """Returns, per number of rows, the milliseconds of calls of the bare model by ``signature`` and by ``session``.

    Another process calls a SavedModel in a loop with batches of rows, for some seconds each way.

    Raises:
        BenchError: the model cannot be called.
    """
    task = {"model": str(folder), "threads": settings.threads, "seconds": seconds, "batches": list(asked.values())}
    done = subprocess.run(
        [sys.executable, "-m", "operations.serving.bare"],
        input=orjson.dumps(task, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n",
        capture_output=True,
        cwd=Path(__file__).resolve().parents[2],
        check=False,
    )
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise BenchError(f"The bare signature could not be called: {lines[-1] if lines else 'it said nothing.'}")
    answer = json.loads(done.stdout.splitlines()[-1])
    return {size: {way: np.array(values) for way, values in answer[str(size)].items()} for size in asked}


def _combined(size: int, before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]) -> Bare:
    first, last = (1000 / float(times["signature"].mean()) for times in (before, after))
    session = sum(1000 / float(times["session"].mean()) for times in (before, after)) / 2
    p50, p99 = np.percentile(np.concatenate([before["signature"], after["signature"]]), [50, 99]).tolist()
    return Bare(size, (first + last) / 2, first, last, session, p50, p99)


def _level(size: int, loads: Sequence[tuple[Load, float]], bare: float) -> Level:
    (load, cpu), *unchecked = loads
    answered = len(load.milliseconds)
    return Level(
        size,
        load.clients,
        load.requests_per_second,
        load.percentile(50),
        load.percentile(95),
        load.percentile(99),
        cpu * 1000 / answered if answered else float("nan"),
        load.requests_per_second / bare,
        load.failed,
        load.errors,
        unchecked[0][0].requests_per_second if unchecked else None,
    )
