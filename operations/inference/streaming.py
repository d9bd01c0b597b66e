"""Streaming prediction: rows that arrive as messages or files are answered and logged as the service logs them.

One Beam transform, `Predict`, does the work whatever the source: it checks each row as the service does, asks the
model through RunInference, and writes the payload log (`operations.inference.payload_log`, same columns, same folders).
A row that cannot be used, or breaks the contract of the version, goes to the dead letters with the reason, and the
stream goes on; what breaks the contract is also logged, unanswered, for monitoring to see.

A directory is watched by a loop of bounded pipelines, because Beam's local runners cannot run an endless one; what was
done is remembered, so it can be stopped and started. Pub/Sub is read by one endless pipeline.
"""

from __future__ import annotations

import atexit
import contextlib
import csv
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.io.gcp.pubsub import ReadFromPubSub
from apache_beam.metrics.metric import Metrics, MetricsFilter
from apache_beam.ml.inference.base import ModelHandler, PredictionResult, RunInference
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.transforms.window import FixedWindows, TimestampedValue

import storage
from errors import FlightdeckError
from operations.inference import contract as contracts
from operations.inference import model as models
from operations.inference import payload_log, payload_table
from operations.inference.columns import Column, Inputs, from_rows
from operations.inference.contract import ContractError
from operations.inference.errors import RequestError
from operations.inference.model import LoadedModel
from operations.inference.payload_table import Payload
from operations.inference.settings import Validation
from operations.registry import Version

SUFFIXES = (".jsonl", ".parquet", ".csv")
ID = payload_table.ID
_DEAD, _REFUSED = "dead", "refused"
_MAX_BATCH_ROWS = 512
# Who asks, for the payload log: a stream does not know who filled it.
_CALLER = "stream"


class StreamError(FlightdeckError):
    """A stream that cannot be read or written; the text says why."""


@dataclass(frozen=True)
class Job:
    """What a stream needs to know. It travels to Beam's workers.

    Attributes:
        model: the folder of the SavedModel.
        types: of the columns that the model takes: name -> int64, float32 or string.
        required: those that may not be missing, unless the version carries a contract.
        keys: columns whose values, joined, name a row that brings no `prediction_id` of its own.
        log: the folder of the payload log.
        dead_letters: the folder of the rows that could not be used: JSON lines.
        exclude: columns that are not logged.
        validation: whether rows that break the contract of the version are refused or flagged.
        seconds: of stream time that go into one file of the log.
    """

    model: str
    version: int
    types: Mapping[str, str]
    required: frozenset[str]
    keys: tuple[str, ...]
    log: str
    dead_letters: str
    exclude: tuple[str, ...] = ()
    validation: Validation = "refuse"
    seconds: float = 60.0

    @property
    def inputs(self) -> Inputs:
        """The columns that the model takes, as the service reads them."""
        return Inputs({name: Column(name, dtype, (None, 1)) for name, dtype in self.types.items()})


@dataclass(frozen=True)
class Row:
    """A row that can be predicted; a value of None is missing. `faults` are its columns that break the contract."""

    prediction_id: str
    values: Mapping[str, Any]
    faults: str | None = None


@dataclass(frozen=True)
class Raw:
    """A row as it came.

    Attributes:
        content: a JSON object, or its text.
        origin: the file and row, or the message.
        prediction_id: if the source names the row.
        textual: whether all values are text, as in CSV.
        problem: why it cannot be used, if the source knows.
    """

    content: Any
    origin: str
    prediction_id: str | None = None
    textual: bool = False
    problem: str = ""


@dataclass
class Tally:
    """How many files were read, rows were answered, and rows could not be used."""

    files: int = 0
    rows: int = 0
    dead: int = 0


class SavedModelHandler(ModelHandler[Row, PredictionResult, LoadedModel]):
    """Gives RunInference the SavedModel as the service runs it: the same loader, the same signature."""

    def __init__(self, folder: str, version: int) -> None:
        super().__init__(min_batch_size=1, max_batch_size=_MAX_BATCH_ROWS)
        self._folder, self._version = folder, version

    def load_model(self) -> LoadedModel:
        """Loads the model on the worker."""
        model = models.load(storage.at(self._folder), self._version)
        # Beam lets go of it only when the interpreter ends, which is too late for TensorFlow.
        atexit.register(model.close)
        return model

    def run_inference(
        self, batch: Sequence[Row], model: LoadedModel, inference_args: dict[str, Any] | None = None
    ) -> Iterable[PredictionResult]:
        """Returns one result per row: its outputs by name, as arrays [1, ...]."""
        del inference_args
        outputs = model.predict(from_rows([row.values for row in batch], model.inputs))
        for index, row in enumerate(batch):
            answer = {name: values[index : index + 1] for name, values in outputs.items()}
            yield PredictionResult(row, answer, model_id=str(self._version))

    def get_metrics_namespace(self) -> str:
        """Returns the namespace of Beam's counters."""
        return "FlightdeckStream"


class Check(beam.DoFn):
    """Raw rows -> rows that the model can take; the others, as dead letters with a reason, to the output `dead`.

    A row that is refused because it breaks the contract goes to the output `refused`, too.
    """

    def __init__(self, job: Job) -> None:
        super().__init__()
        self._job = job
        self._contract: contracts.Contract | None = None
        self._inputs, self._required = job.inputs, job.required

    def setup(self) -> None:
        """Reads the contract of the version."""
        if self._job.validation != "off":
            self._contract = contracts.read(storage.at(self._job.model), self._job.types)
        if self._contract is not None:
            self._required = frozenset()

    def process(self, element: Raw) -> Iterator[Any]:
        """Yields the row, or a dead letter."""
        try:
            row, faults = self._checked(element)
            if faults is not None and self._job.validation == "refuse":
                yield beam.pvalue.TaggedOutput(_REFUSED, row)
                raise ContractError(faults, self._job.version)
            yield row
        except (RequestError, ValueError) as error:
            content = element.content
            letter = {
                "origin": element.origin,
                "reason": str(error),
                "content": content.decode(errors="replace") if isinstance(content, bytes) else content,
            }
            yield beam.pvalue.TaggedOutput(_DEAD, json.dumps(letter, default=str))

    def _checked(self, raw: Raw) -> tuple[Row, contracts.Faults | None]:
        """The row, and what in it breaks the contract."""
        if raw.problem:
            raise StreamError(raw.problem)
        try:
            row = json.loads(raw.content) if isinstance(raw.content, bytes | str) else raw.content
        except (ValueError, RecursionError) as error:
            raise StreamError(f"The message is no JSON: {error}.") from None
        if not isinstance(row, dict):
            raise StreamError("The message is no JSON object.")
        # What else a row has, such as keys and labels, does not concern the model.
        values = {name: row.get(name) for name in self._job.types}
        if raw.textual:
            values = {name: _from_text(value, self._job.types[name], name) for name, value in values.items()}
        values = {name: None if value != value else value for name, value in values.items()}  # NaN
        for name in sorted(self._required):
            if values[name] is None:
                raise StreamError(f"`{name}` is missing, and the model needs it.")
        arrays = from_rows([values], self._inputs)
        faults = None if self._contract is None else self._contract.check(arrays)
        keys = [row.get(name) for name in self._job.keys]
        named = row.get(ID) or raw.prediction_id
        if not named:
            named = "/".join(str(key) for key in keys) if keys and all(key is not None for key in keys) else raw.origin
        return Row(str(named), values, None if faults is None else faults.of_rows(1)[0]), faults


# Writers of groups: one that Beam retries writes the same file again, so no row is written twice.


def _write_log(
    group: tuple[int, Iterable[PredictionResult]], job: Job, window: Any = beam.DoFn.WindowParam
) -> Iterator[int]:
    """Yields how many."""
    results: list[Any] = sorted(group[1], key=lambda result: result.example.prediction_id)
    outputs = {name: np.concatenate([result.inference[name] for result in results]) for name in results[0].inference}
    _log(job, [result.example for result in results], outputs, window)
    yield len(results)


def _write_refused(group: tuple[int, Iterable[Row]], job: Job, window: Any = beam.DoFn.WindowParam) -> None:
    _log(job, sorted(group[1], key=lambda row: row.prediction_id), {}, window, refused=True)


def _write_dead_letters(group: tuple[int, Iterable[str]], folder: str) -> Iterator[int]:
    """Yields how many."""
    letters = sorted(group[1])
    text = "".join(letter + "\n" for letter in letters)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    storage.make_folder(storage.at(folder))
    storage.write(storage.at(folder) / f"dead-{digest}.jsonl", text)
    yield len(letters)


def _log(job: Job, rows: Sequence[Row], outputs: Mapping[str, np.ndarray], window: Any, refused: bool = False) -> None:
    """Writes rows and their answers as one file of the payload log."""
    inputs = job.inputs
    payload = Payload(
        [row.prediction_id for row in rows],
        min(float(window.max_timestamp()), time.time()),
        job.version,
        inputs.columns,
        from_rows([row.values for row in rows], inputs),
        None,
        dict(outputs),
        faults=[row.faults for row in rows],
        refused=refused,
        caller=_CALLER,
    )
    table = payload_table.as_table(payload, job.exclude)
    content = [(row.prediction_id, sorted(row.values.items())) for row in rows]
    digest = hashlib.sha256(repr(content).encode()).hexdigest()[:16]
    payload_log.write(storage.at(job.log), table, f"stream-v{job.version}-{'refused-' if refused else ''}{digest}")


class Predict(beam.PTransform):
    """Raw rows -> the payload log and the dead letters; gives the numbers of rows as `rows` and `dead`."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self._job = job

    def expand(self, input_or_inputs: Any) -> dict[str, Any]:
        """Builds the transform."""
        job = self._job
        # Before the inference: it batches rows, and batches of the global window belong to the end of time.
        windowed = input_or_inputs | "Window" >> beam.WindowInto(FixedWindows(job.seconds))
        checked: Any = windowed | "Check" >> beam.ParDo(Check(job)).with_outputs(_DEAD, _REFUSED, main="good")
        answered = checked["good"] | "Infer" >> RunInference(SavedModelHandler(job.model, job.version))

        def written(rows: Any, name: str, write: Callable[..., Any], *arguments: Any) -> Any:
            grouped = rows | f"{name}Key" >> beam.WithKeys(0) | f"{name}Group" >> beam.GroupByKey()
            return grouped | f"Write{name}" >> beam.FlatMap(write, *arguments)

        written(checked[_REFUSED], "Refused", _write_refused, job)
        return {
            "rows": written(answered, "Log", _write_log, job),
            "dead": written(checked[_DEAD], "Dead", _write_dead_letters, job.dead_letters),
        }


def _read_file(name: str) -> Iterator[Raw]:
    """Yields the rows of a file. One that cannot be read is one raw row that says so."""
    path = Path(name)
    try:
        for row, content in enumerate(_read(path)):
            yield Raw(content, f"{path.name}:{row}", textual=path.suffix == ".csv")
    except (OSError, ValueError, csv.Error) as error:
        reason = " ".join(str(error).split())
        yield Raw(None, path.name, problem=f"{path.name} cannot be read to its end: {reason}")


def message(received: Any) -> Raw:
    """A message of Pub/Sub as a raw row; its attribute `prediction_id` names it, or else its id does."""
    attributes = received.attributes or {}
    return Raw(received.data, received.message_id or "message", attributes.get(ID) or received.message_id)


def job(version: Version, settings: Any, dead_letters: Path) -> Job:
    """What a stream needs to know; raises LoadError for a version whose model or contract is damaged."""
    loaded = models.load(version.folder, version.number)
    types = loaded.inputs.types
    loaded.close()
    contract = settings.contract()
    return Job(
        model=str(version.folder.absolute()),
        version=version.number,
        types=types,
        required=frozenset(types) - {column.name for column in contract.columns if column.nullable},
        keys=contract.row_key,
        log=settings.payloads,
        dead_letters=str(dead_letters),
        exclude=settings.serving.payloads.exclude,
        validation=settings.serving.validation,
    )


def from_subscription(job: Job, subscription: str, arguments: Sequence[str]) -> None:
    """Answers the messages of a Pub/Sub subscription, ``projects/PROJECT/subscriptions/NAME``, until cancelled."""
    options = PipelineOptions(list(arguments))
    options.view_as(StandardOptions).streaming = True
    with beam.Pipeline(options=options) as pipeline:
        _ = (
            pipeline
            | "Receive" >> ReadFromPubSub(subscription=subscription, with_attributes=True)
            | "Message" >> beam.Map(message)
            | Predict(job)
        )


@dataclass
class Directory:
    """A directory of arriving files, and which of them are done, as remembered in the folder of the dead letters.

    A file counts as arrived when its size and time did not change between two looks; a hidden one is being written.
    """

    folder: Path
    job: Job
    arguments: Sequence[str]
    tally: Tally = field(default_factory=Tally)

    def __post_init__(self) -> None:
        """Reads what was done before."""
        if not self.folder.is_dir():
            raise StreamError(f"There is no directory {self.folder}.")
        name = hashlib.sha256(str(self.folder.absolute()).encode()).hexdigest()[:12]
        self._memory = Path(self.job.dead_letters) / f".done-{name}.json"
        try:
            self._done: dict[str, list[int]] = json.loads(self._memory.read_text(encoding="utf-8"))
        except FileNotFoundError:
            self._done = {}
        except (OSError, ValueError) as error:
            raise StreamError(f"{self._memory} cannot be read: {error}.") from error
        self._seen: dict[str, list[int]] = {}

    def arrived(self, at_once: bool = False) -> list[str]:
        """Returns the files that are complete and not done; `at_once` takes each for complete."""
        present = {}
        for path in sorted(self.folder.iterdir()):
            if path.suffix in SUFFIXES and not path.name.startswith((".", "_")):
                with contextlib.suppress(FileNotFoundError):
                    status = path.stat()
                    present[path.name] = [status.st_size, status.st_mtime_ns]
        before, self._seen = self._seen, present
        return [
            name
            for name, state in present.items()
            if self._done.get(name) != state and (at_once or before.get(name) == state)
        ]

    def answer(self, names: Sequence[str]) -> Tally:
        """Predicts the rows of files, and returns what they held. If the pipeline fails, they will be tried again."""
        states = {name: self._seen[name] for name in names}
        pipeline = beam.Pipeline(options=PipelineOptions(list(self.arguments)))
        counted = (
            pipeline
            | "Files" >> beam.Create([str(self.folder / name) for name in names])
            | "Read" >> beam.FlatMap(_read_file)
            | "Now" >> beam.Map(lambda raw: TimestampedValue(raw, time.time()))
            | Predict(self.job)
        )
        for name, counts in counted.items():
            _ = counts | f"Count-{name}" >> beam.Map(_count, name)
        result = pipeline.run()
        result.wait_until_finish()
        counters = result.metrics().query(MetricsFilter().with_namespace("stream"))["counters"]
        tally = Tally(len(names), **{counter.key.metric.name: int(counter.result or 0) for counter in counters})
        self._done |= states
        self._memory.parent.mkdir(parents=True, exist_ok=True)
        storage.write(self._memory, json.dumps(self._done))
        for name, number in vars(tally).items():
            setattr(self.tally, name, getattr(self.tally, name) + number)
        return tally

    def watch(
        self,
        poll_seconds: float,
        idle_seconds: float | None,
        on_files: Callable[[Tally], None] = lambda tally: None,
    ) -> Tally:
        """Answers files as they arrive, tells `on_files` what each group held, and returns what all held.

        It ends after `idle_seconds` without a file; 0: at once, when all that is there is done; None: never.
        """
        last = time.monotonic()
        while True:
            if names := self.arrived(at_once=idle_seconds == 0):
                on_files(self.answer(names))
                last = time.monotonic()
            elif idle_seconds is not None and time.monotonic() - last >= idle_seconds:
                return self.tally
            else:
                time.sleep(poll_seconds)


def _count(number: int, name: str) -> None:
    Metrics.counter("stream", name).inc(number)


def _read(path: Path) -> Iterator[Any]:
    """The rows of a file: JSON texts, or dicts; of CSV, with texts as values."""
    if path.suffix == ".jsonl":
        with path.open("rb") as lines:
            yield from (line for line in lines if line.strip())
    elif path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as lines:
            yield from csv.DictReader(lines)
    else:
        import pyarrow.parquet as pq

        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=4096):
                yield from batch.to_pylist()


def _from_text(value: Any, kind: str, name: str) -> Any:
    if value is None or value == "" or kind == "string":
        return value or None
    try:
        return int(value) if kind == "int64" else float(value)
    except ValueError:
        raise StreamError(f"`{name}` is {str(value)[:50]!r}, and {kind} is needed.") from None
