"""Compares training on a GPU with training on the processors of the same machine, for small and large networks.

Each training runs in a process of its own, `models.training.fit` on the same transformed rows: spans -> tf.Examples ->
tf.Transform -> `models.inputs.read`. What a process pays once (libraries, kernels, tracing) and what an epoch costs are
told apart: it fits one epoch, one again, and some more, and times each. Then TensorFlow's profiler watches one more
epoch of training: the device is busy while a kernel or a copy runs on a GPU, and the input is waited for while the step
blocks in the iterator of the batches.

    python -m benchmarks.accelerator --spans workspace/spans

A GPU pays when its epochs are so much shorter that they make up for its start; which network that is, the table shows.
Without a GPU the processors alone are measured, and the table says so.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import quality
from data import prepare, spans
from data.contract import Contract, Target
from models.features import FeatureSettings
from models.flights import FlightFeatures
from models.settings import ModelSettings

if TYPE_CHECKING:
    import keras

_LARGE = {"hidden_units": (2048, 1024, 512), "batch_size": 8192}
NETWORKS: dict[str, dict[str, Any]] = {
    "default": {},
    "default, batches of 16,384": {"batch_size": 16384},
    "2048-1024-512, batches of 8,192": _LARGE,
}
# What only a GPU has a use for; compared with the same network without it.
GPU_ONLY: dict[str, dict[str, Any]] = {
    "2048-1024-512, float16": _LARGE | {"mixed_precision": True},
    "2048-1024-512, any order": _LARGE | {"deterministic": False},
    "2048-1024-512, XLA": _LARGE | {"deterministic": False, "xla": True},
    "2048-1024-512, XLA, float16": _LARGE | {"deterministic": False, "xla": True, "mixed_precision": True},
}


@dataclass(frozen=True)
class Measured:
    """What a training cost.

    Attributes:
        name: The network.
        devices: What it was trained on.
        start: Seconds that a process pays once, before its first epoch and during it.
        epoch: Seconds of each later epoch, measuring on the evaluation rows included.
        loss: Log loss on the evaluation rows after all epochs.
        busy: Share of an epoch's time in which the GPUs were at work; None without one.
        waiting: Share of an epoch's time in which a step waited for its batch.
        failed: Why there are no figures.
    """

    name: str
    devices: str
    start: float = 0.0
    epoch: float = 0.0
    loss: float = 0.0
    busy: float | None = None
    waiting: float = 0.0
    failed: str | None = None


def gpus() -> list[str]:
    """Returns a description of each GPU that TensorFlow sees."""
    import tensorflow as tf

    devices = tf.config.list_physical_devices("GPU")
    return [
        str(tf.config.experimental.get_device_details(device).get("device_name", device.name)) for device in devices
    ]


def measure(folder: Path, name: str, settings: ModelSettings, target: Target, features: FeatureSettings) -> Measured:
    """Trains thrice in this process, the last time for all epochs, and returns what that cost."""
    import tensorflow_transform as tft

    from models import inputs, network, runtime, tasks, training

    devices = runtime.devices_for(settings.accelerator)
    transform = tft.TFTransformOutput(str(folder / "transform"))
    graph = inputs.TransformGraph(transform, features.inputs)
    train, evaluation = (
        inputs.read([str(folder / f"Split-{split}" / "*")], graph, target.label) for split in ("train", "eval")
    )
    shape = network.TransformedFeatures.of(transform, features)

    def timed(epochs: int) -> tuple[float, float, keras.Model]:
        tried = settings.model_copy(update={"epochs": epochs})
        with runtime.configured(tried, devices) as where:
            started = time.monotonic()
            model, history = training.fit(tried, shape, tasks.head(target), where, train, evaluation)
            return time.monotonic() - started, history["val_loss"][-1], model

    cold, *_ = timed(1)
    warm, *_ = timed(1)
    whole, loss, model = timed(1 + settings.epochs)
    epoch = (whole - warm) / settings.epochs
    with runtime.configured(settings, devices):
        batches = train.batches(settings.batch_size, shuffle_seed=settings.seed)
        busy, waiting = shares(lambda: model.fit(batches, shuffle=False, verbose=0))  # pyright: ignore
    return Measured(name, ", ".join(devices), max(0.0, cold - epoch), epoch, loss, busy, waiting)


def shares(run: Callable[[], Any]) -> tuple[float | None, float]:
    """Returns the shares of a run's time in which GPUs were at work (None: there is none) and steps awaited batches."""
    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf.xplane_pb2 import XSpace

    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        started = time.monotonic()
        run()
        seconds = time.monotonic() - started
        tf.profiler.experimental.stop()
        (profile,) = Path(folder).rglob("*.xplane.pb")
        planes = XSpace.FromString(profile.read_bytes()).planes
    gpus = [_covered(plane) for plane in planes if plane.name.startswith("/device:GPU:")]
    waited = sum(_covered(plane, "IteratorGetNextOp::DoCompute") for plane in planes if plane.name == "/host:CPU")
    return sum(gpus) / len(gpus) / seconds if gpus else None, waited / seconds


def _covered(plane: Any, name: str | None = None) -> float:
    """Returns the seconds in which at least one event of a plane was under way, or one of that name."""
    spans_of_time = sorted(
        (line.timestamp_ns + event.offset_ps / 1e3, line.timestamp_ns + (event.offset_ps + event.duration_ps) / 1e3)
        for line in plane.lines
        for event in line.events
        if name is None or plane.event_metadata[event.metadata_id].name == name
    )
    covered, until = 0.0, 0.0
    for begin, end in spans_of_time:
        covered += max(0.0, end - max(begin, until))
        until = max(until, end)
    return covered / 1e9


def measured_alone(
    folder: Path, name: str, settings: ModelSettings, target: Target, features: FeatureSettings
) -> Measured:
    """Measures in a process of its own, so that each pays for its own start; a failure is a line of the table."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(measure, folder, name, settings, target, features).result()
        # Whatever stops one training, the others are still worth measuring.
        except Exception as error:
            device = "CPU:0" if settings.accelerator == "cpu" else "GPU"
            return Measured(name, device, failed=f"{type(error).__name__}: {str(error).strip().splitlines()[0][:100]}")


def line(one: Measured) -> str:
    """Returns a row of the table."""
    if one.failed:
        return f"{one.name:<34}{one.devices:<8}{one.failed}"
    busy = "-" if one.busy is None else f"{one.busy:.0%}"
    return (
        f"{one.name:<34}{one.devices:<8}{one.start:>9.1f}{one.epoch:>10.2f}{one.loss:>10.4f}{busy:>10}"
        f"{one.waiting:>14.0%}"
    )


def compare(folder: Path, first: int, newest: int, epochs: int, only_cpu: bool) -> list[Measured]:
    """Prints a row per network and device, as each is measured, and returns them all."""
    contract, features = Contract.load(quality.CONTRACT), FlightFeatures()
    columns = contract.ingested()
    everything = []
    with tempfile.TemporaryDirectory() as temporary:
        here = Path(temporary)
        print("preparing the rows, as the pipeline does", flush=True)
        train = [spans.read(folder, span) for span in range(first, newest)]
        quality.write_examples(train, columns, here / "Split-train")
        quality.write_examples([spans.read(folder, newest)], columns, here / "Split-eval")
        quality.analyse(str(here / "Split-train" / "*"), quality.SCHEMA, features, here / "transform")
        rows = sum(table.num_rows for table in train)
        print(f"{rows:,} rows; {os.cpu_count()} processors")
        head = f"{'network':<34}{'on':<8}{'start, s':>9}{'epoch, s':>10}{'log loss':>10}"
        print(f"{head}{'GPU busy':>10}{'input-bound':>14}")
        plan = [(name, changes, "cpu") for name, changes in NETWORKS.items()]
        if not only_cpu:
            plan = [(name, changes, place) for name, changes, _ in plan for place in ("cpu", "required")]
            plan += [(name, changes, "required") for name, changes in GPU_ONLY.items()]
        for name, changes, accelerator in plan:
            settings = ModelSettings.model_validate(changes | {"epochs": epochs, "accelerator": accelerator})
            everything.append(measured_alone(here, name, settings, contract.target, features))
            print(line(everything[-1]), flush=True)
    return everything


def main() -> int:
    """Runs the comparison and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spans", type=Path, default=Path("workspace/spans"), help="prepared if it is not there")
    parser.add_argument("--first", type=int, default=1, help="oldest span to learn from")
    parser.add_argument("--newest", type=int, default=12, help="span to measure on")
    parser.add_argument("--epochs", type=int, default=2, help="epochs to time, after a first one")
    parser.add_argument("--json", type=Path, help="also write the figures into this file")
    arguments = parser.parse_args()
    prepare.prepare(arguments.spans)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        devices = pool.submit(gpus).result()
    print(f"GPU: {', '.join(devices)}" if devices else "TensorFlow sees no GPU: the processors alone are measured")
    everything = compare(arguments.spans, arguments.first, arguments.newest, arguments.epochs, not devices)
    if arguments.json:
        arguments.json.write_text(json.dumps({"gpus": devices, "rows": [asdict(one) for one in everything]}, indent=2))
    return int(any(one.failed for one in everything))


if __name__ == "__main__":
    sys.exit(main())
