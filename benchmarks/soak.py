"""Asks the service without a pause while versions are pushed, some of them corrupt, and rolled back.

    python -m benchmarks.soak --minutes 10 --every 30

It starts the service over a folder of its own and pushes variants of the newest pushed model, whose weights differ, so
that every version has numbers of its own. It fails if a request fails, if an answer is not what the version that gave
it says by TensorFlow alone, if that version was corrupt, replaced for long, or older than one the same client saw
before, if a corrupt version was not refused, if an answer is missing in the payload log, or if memory grows.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import itertools
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

if TYPE_CHECKING:
    from operations.serving.load import Answered, Load
    from operations.serving.settings import Serving

CLIENTS = 8
ROWS = (1, 4, 64)
VARIANTS = 4
TOLERANCE = 1e-5
# How much memory may grow, and from when on; on shorter runs, from a third of them on.
GROWTH, SETTLED_SECONDS = 0.10, 60.0
# What is pushed, in turns: a new model, an earlier good one once more, or something that cannot be served.
SEQUENCE = ("good", "truncated", "rollback", "no graph", "good", "empty", "rollback", "good", "truncated", "good")


@dataclasses.dataclass
class Push:
    """One version.

    Attributes:
        version: its number.
        kind: see `SEQUENCE`.
        variant: the model it is a copy of; None if it cannot be served.
        at: when it was there, on the clock of `time.perf_counter`.
        seen: when the first answer came from it; None if none did.
    """

    version: int
    kind: str
    variant: int | None
    at: float
    seen: float | None = None


@dataclasses.dataclass(frozen=True)
class Result:
    """What happened.

    Attributes:
        seconds: how long it was asked.
        requests: that were answered rightly.
        failed: that were not.
        requests_per_second: answered.
        p50_ms: half of the answers took no longer.
        p99_ms: 99 % took no longer.
        slowest_ms: the slowest answer.
        pushes: good versions pushed after the first one, rollbacks among them.
        rollbacks: of these.
        corrupt: versions that could not be served.
        swapped: pushes that answered; one that is followed at once by another need not.
        slowest_swap_seconds: from the push of a version to its first answer.
        memory_mb: of the service when it was settled.
        largest_memory_mb: after that.
        logged_rows: in the payload log.
        problems: why the soak failed; empty if it did not.
    """

    seconds: float
    requests: int
    failed: int
    requests_per_second: float
    p50_ms: float
    p99_ms: float
    slowest_ms: float
    pushes: int
    rollbacks: int
    corrupt: int
    swapped: int
    slowest_swap_seconds: float
    memory_mb: float
    largest_memory_mb: float
    logged_rows: int
    problems: tuple[str, ...]


def main() -> int:
    """Runs the soak; returns 1 if it failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default: %(default)s)")
    parser.add_argument("--every", type=float, default=30.0, help="seconds between versions (default: %(default)s)")
    parser.add_argument("--config", type=Path, default=Path("config/local.yaml"), help="settings file")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a setting")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()

    from flightdeck.settings import read_settings
    from operations.serving.bench import real_rows

    try:
        settings = read_settings(options.config, options.set)
        rows = real_rows(settings, 4096)
        newest = newest_version(Path(settings.pushed))
        result = soak(newest, rows, settings.serving, options.minutes * 60, options.every, note=_note)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(dataclasses.asdict(result)))
    else:
        _show(result)
    return 1 if result.problems else 0


def newest_version(registry: Path) -> Path:
    """Returns the folder of the newest version.

    Raises:
        ServingError: there is none.
    """
    from operations.inference.errors import ServingError

    versions = [
        version for version in registry.glob("*") if version.name.isdigit() and (version / "saved_model.pb").is_file()
    ]
    if not versions:
        raise ServingError(f"There is no version in {registry} to make variants of; train one with: flightdeck run")
    return max(versions, key=lambda version: int(version.name))


def soak(
    model: Path,
    rows: Sequence[dict[str, Any]],
    settings: Serving,
    seconds: float,
    every: float,
    swap_seconds: float = 10.0,
    note: Callable[[str], None] = lambda text: None,
) -> Result:
    """Lets clients ask a service for some time while versions are pushed.

    Args:
        model: a SavedModel, of which variants are made.
        rows: to ask with; columns that the model does not take are left out.
        settings: the section ``serving``; its payload log is written to a folder that is removed, without a sample.
        seconds: for how long.
        every: seconds between two versions.
        swap_seconds: how long a replaced version may still answer.
        note: is told what goes on.
    """
    from operations.serving import child

    payloads = settings.payloads.model_copy(update={"enabled": True, "sample": 1.0, "exclude": ()})
    settings = settings.model_copy(
        update={"payloads": payloads, "settle_seconds": min(settings.settle_seconds, every / 3)}
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        note("Making variants of the model")
        batches, inputs = _batches(model, rows)
        variants, expected = _variants(model, batches, inputs, folder / "variants")
        registry = _Registry(folder / "versions", variants)
        registry.push("good")
        with child.serving("soak", folder / "versions", settings, folder / "payloads", folder / "log") as service:
            note("Asking")
            watch = _Watch(registry, expected, swap_seconds)
            load, memory = asyncio.run(_run(service, registry, watch, batches, seconds, every, swap_seconds, note))
            problems = _unrefused(service.url, registry)
        logged = _logged_rows(folder / "payloads")
        problems += [f"Failed: {error}" for error in load.errors]
        if load.failed:
            problems.append(f"{load.failed} requests failed.")
        if logged != watch.rows:
            problems.append(f"{watch.rows} rows were answered, but {logged} are in the payload log.")
        return _result(load, registry, memory, logged, seconds, problems, swap_seconds)


class _Registry:
    """The folder of versions, and what was put there."""

    def __init__(self, folder: Path, variants: Sequence[Path]) -> None:
        self._folder = folder
        self._variants = variants
        self.pushes: list[Push] = []
        folder.mkdir()

    def push(self, kind: str) -> Push:
        """Puts the next version there, as a Pusher and a rollback do: under another name first."""
        version = len(self.pushes) + 1
        good = [push for push in self.pushes if push.variant is not None]
        if kind == "rollback":
            # To the last one with other numbers than those that are served now.
            earlier = [push.variant for push in good if push.variant != good[-1].variant] or [good[-1].variant]
            variant = earlier[-1]
        else:
            variant = sum(push.kind == "good" for push in self.pushes) % len(self._variants)
        assert variant is not None
        temporary = self._folder / f".copying-{version}"
        if kind == "empty":
            temporary.mkdir()
        else:
            shutil.copytree(self._variants[variant], temporary)
        if kind == "truncated":
            (data,) = (temporary / "variables").glob("variables.data-*")
            data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
        elif kind == "no graph":
            (temporary / "saved_model.pb").unlink()
        push = Push(version, kind, variant if kind in ("good", "rollback") else None, time.perf_counter())
        # Known before it is there: its first answer may come at once.
        self.pushes.append(push)
        temporary.rename(self._folder / str(version))
        return push


class _Watch:
    """Judges every answer."""

    def __init__(self, registry: _Registry, expected: Sequence[Sequence[np.ndarray]], swap_seconds: float) -> None:
        self._registry = registry
        self._expected = expected
        self._swap_seconds = swap_seconds
        self._newest_of: dict[int, int] = {}
        self.rows = 0

    def judge(self, answer: Answered) -> str | None:
        """Says what is wrong with an answer, if anything is."""
        version = int(answer.headers["x-model-version"])
        pushes = self._registry.pushes
        if version > len(pushes) or pushes[version - 1].variant is None:
            return f"Version {version} answered, which cannot."
        push = pushes[version - 1]
        if push.seen is None:
            push.seen = answer.answered
        if version < self._newest_of.get(answer.client, 0):
            return f"Version {version} answered a client that had seen version {self._newest_of[answer.client]}."
        self._newest_of[answer.client] = version
        for newer in pushes[version:]:
            if newer.variant is not None and answer.asked - newer.at > self._swap_seconds:
                return f"Version {version} answered {answer.asked - newer.at:.1f} s after version {newer.version} came."
        values = np.ravel(orjson.loads(answer.content)["predictions"])
        assert push.variant is not None
        wanted = self._expected[push.variant][answer.body]
        if values.shape != wanted.shape or not np.allclose(values, wanted, atol=TOLERANCE, rtol=0):
            return f"Version {version} gave {values[:3]}, and not its own {wanted[:3]}."
        self.rows += len(values)
        return None


async def _run(
    service: Any,
    registry: _Registry,
    watch: _Watch,
    batches: Sequence[list[dict[str, Any]]],
    seconds: float,
    every: float,
    swap_seconds: float,
    note: Callable[[str], None],
) -> tuple[Load, list[tuple[float, float]]]:
    """Asks, pushes and looks at the memory, all at once; the memory as (time.perf_counter(), bytes)."""
    from operations.serving.load import drive

    bodies = [orjson.dumps({"instances": rows}, option=orjson.OPT_SERIALIZE_NUMPY) for rows in batches]
    memory: list[tuple[float, float]] = []
    started = time.perf_counter()

    async def push() -> None:
        for index, kind in enumerate(_kinds()):
            due = started + (index + 1) * every
            # None so close to the end that it could not be served before.
            if due > started + seconds - max(every, min(swap_seconds, seconds / 3)):
                return
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            pushed = await asyncio.to_thread(registry.push, kind)
            note(f"{pushed.at - started:6.1f} s  version {pushed.version}: {kind}")

    async def measure() -> None:
        while True:
            memory.append((time.perf_counter(), service.memory_bytes()))
            await asyncio.sleep(min(1.0, seconds / 60))

    url = f"{service.url}/v1/models/soak:predict"
    measuring = asyncio.create_task(measure())
    load, _ = await asyncio.gather(drive(url, bodies, CLIENTS, seconds, watch.judge), push())
    measuring.cancel()
    return load, memory


def _kinds() -> Iterator[str]:
    while True:
        yield from SEQUENCE


def _batches(model: Path, rows: Sequence[dict[str, Any]]) -> tuple[list[list[dict[str, Any]]], list[str]]:
    """Different requests of different sizes, mixed, with the columns that the model takes."""
    from operations.inference.model import load

    loaded = load(model, 0)
    names = [name for name in loaded.inputs.names if name in rows[0]]
    loaded.close()
    requests = [{name: row[name] for name in names} for row in rows]
    batches, start = [], 0
    for index in range(8 * len(ROWS)):
        size = ROWS[index % len(ROWS)]
        batches.append([requests[(start + row) % len(requests)] for row in range(size)])
        start += size
    return batches, names


def _variants(
    model: Path, batches: Sequence[Sequence[dict[str, Any]]], inputs: Sequence[str], folder: Path
) -> tuple[list[Path], list[list[np.ndarray]]]:
    """Models with other weights, and what plain TensorFlow says each of them answers to each batch."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(model))
    signature = loaded.signatures["predict_raw"]
    weights = [variable for variable in signature.variables if variable.dtype.is_floating]
    original = [variable.numpy() for variable in weights]
    specs = signature.structured_input_signature[1]
    requests = [
        {name: _tensor(spec, [row.get(name) for row in rows]) for name, spec in specs.items()} for rows in batches
    ]
    (output,) = signature.structured_outputs
    paths, expected = [], []
    for number in range(VARIANTS):
        for variable, value in zip(weights, original, strict=True):
            variable.assign(value * (1 - 0.1 * number) + 0.01 * number)
        path = folder / str(number)
        tf.saved_model.save(loaded, str(path), signatures=dict(loaded.signatures))
        paths.append(path)
        expected.append([np.ravel(signature(**request)[output].numpy()) for request in requests])
    for first, second in itertools.pairwise(expected):
        if np.allclose(first[-1], second[-1], atol=10 * TOLERANCE, rtol=0):
            raise ValueError(f"{model} answers the same whatever its weights are; versions could not be told apart.")
    return paths, expected


def _tensor(spec: Any, values: Sequence[Any]) -> Any:
    import tensorflow as tf

    # Missing values as the exporter documents them, written down once more: a check must not ask what it checks.
    missing = "" if spec.dtype == tf.string else np.nan if spec.dtype.is_floating else spec.dtype.min
    return tf.constant([[missing if value is None else value] for value in values], spec.dtype)


def _unrefused(url: str, registry: _Registry) -> list[str]:
    """What is wrong with the states of the versions."""
    from urllib.request import urlopen

    # The last version may be one that is still given time to be completed.
    deadline = time.monotonic() + 30
    while True:
        with urlopen(f"{url}/v1/models/soak") as response:
            states = {int(status["version"]): status for status in json.load(response)["model_version_status"]}
        newest = max(push.version for push in registry.pushes if push.variant is not None)
        problems = []
        for push in registry.pushes:
            state = states.get(push.version, {"state": "never seen", "status": {"error_code": "OK"}})
            if push.variant is None and (state["state"], state["status"]["error_code"]) in [
                ("END", "OK"),
                ("AVAILABLE", "OK"),
            ]:
                problems.append(f"Version {push.version} ({push.kind}) was not refused but is {state['state']}.")
            if push.variant is None and state["state"] not in ("END", "AVAILABLE") and push.version > newest:
                problems.append(f"Version {push.version} ({push.kind}) is {state['state']} and was not refused.")
        if states.get(newest, {}).get("state") != "AVAILABLE":
            problems.append(f"Version {newest} is the newest good one and is not served.")
        if not problems or time.monotonic() > deadline:
            return problems
        time.sleep(0.5)


def _logged_rows(folder: Path) -> int:
    import pyarrow.parquet as pq

    return sum(pq.read_metadata(file).num_rows for file in folder.rglob("*.parquet"))


def _result(
    load: Load,
    registry: _Registry,
    memory: Sequence[tuple[float, float]],
    logged: int,
    seconds: float,
    problems: list[str],
    swap_seconds: float,
) -> Result:
    settled = min(SETTLED_SECONDS, seconds / 3)
    started, ended = memory[0][0], memory[-1][0]
    base = [size for at, size in memory if at <= started + settled][-1]
    largest = max([size for at, size in memory if at > started + settled], default=base)
    if largest > base * (1 + GROWTH):
        problems.append(f"Memory grew from {base / 1e6:.0f} to {largest / 1e6:.0f} MB.")
    later = [push for push in registry.pushes[1:] if push.variant is not None]
    swaps = [push.seen - push.at for push in later if push.seen is not None]
    if max(swaps, default=0.0) > swap_seconds:
        problems.append(f"A version answered only {max(swaps):.1f} s after it was pushed.")
    # One that is followed soon may be passed over.
    for push, following in zip(later, [*(push.at for push in later[1:]), ended], strict=True):
        if push.seen is None and following - push.at > swap_seconds:
            problems.append(f"Version {push.version} ({push.kind}) never answered.")
    return Result(
        seconds=load.seconds,
        requests=len(load.milliseconds),
        failed=load.failed,
        requests_per_second=load.requests_per_second,
        p50_ms=load.percentile(50),
        p99_ms=load.percentile(99),
        slowest_ms=load.percentile(100),
        pushes=len(later),
        rollbacks=sum(push.kind == "rollback" for push in later),
        corrupt=sum(push.variant is None for push in registry.pushes),
        swapped=len(swaps),
        slowest_swap_seconds=max(swaps, default=float("nan")),
        memory_mb=base / 1e6,
        largest_memory_mb=largest / 1e6,
        logged_rows=logged,
        problems=tuple(problems),
    )


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _show(result: Result) -> None:
    print(
        f"{result.requests:,} requests in {result.seconds:.0f} s ({result.requests_per_second:,.0f}/s), {result.failed}"
        f" failed; p50 {result.p50_ms:.1f} ms, p99 {result.p99_ms:.1f} ms, slowest {result.slowest_ms:.0f} ms\n"
        f"{result.pushes} versions pushed, {result.rollbacks} of them by rollback, and {result.corrupt} corrupt ones;"
        f" {result.swapped} answered, slowest swap {result.slowest_swap_seconds:.1f} s\n"
        f"memory {result.memory_mb:.0f} MB, later at most {result.largest_memory_mb:.0f} MB;"
        f" {result.logged_rows:,} rows in the payload log"
    )
    for problem in result.problems:
        print(f"PROBLEM: {problem}")
    print("failed" if result.problems else "passed")


if __name__ == "__main__":
    sys.exit(main())
