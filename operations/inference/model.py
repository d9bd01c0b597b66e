"""One version of a model in memory: what it takes, what it gives, and the prediction itself.

The SavedModel is run as TensorFlow Serving runs it: its graph in a session, with the tensors that the signature names.
Python's `tf.saved_model.load` rebuilds every function of the model as a Python object instead, and pays for that in
each call: 0.9 ms against 0.2 ms for one row of 24 columns, and 1.0 ms against 0.4 ms for 64 (one thread).
"""

from __future__ import annotations

import contextlib
import gc
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import storage
from operations.inference import contract as contracts
from operations.inference import example_row
from operations.inference.columns import Column, Columns, Inputs, objects
from operations.inference.contract import Contract
from operations.inference.errors import LoadError, NotReadyError, UnknownModelError, UnprocessableError
from operations.inference.tensorflow_import import devices, tensorflow
from operations.tasks import task_of

RAW = "predict_raw"
EXAMPLES = "serving_default"
EXPLAIN = "explain"
# What the signature of explanations gives beside the answer: the mean answer to some training rows, and of each column
# by how much it moves the answer away from that; models/explanation.py says the same.
BASE_VALUE, WHY = "base_value", "why_"

_WARM_UP_ROWS = (1, 64)
_GRAPH_NOISE = re.compile(r"\[\[\{\{.*?\}\}\]\]|\[Op:.*?\]|\{\{.*?\}\}")
_GRAPH_HEADERS = ("Graph execution error", "Detected at node", "File ", "Stack trace", "Hint: ", "Original stack")
_LONGEST_REASON = 400


@dataclass(frozen=True)
class Signature:
    """One way to ask a model, such as ``predict_raw``: what it takes, what its graph computes, and what is added."""

    name: str
    inputs: Inputs
    computed: Mapping[str, Column]
    added: Mapping[str, Column] = field(default_factory=dict)

    @cached_property
    def outputs(self) -> Mapping[str, Column]:
        """What the model gives, by name."""
        return {**self.computed, **self.added}


class LoadedModel:
    """One version of a model in memory. Its methods may be called from any thread.

    Attributes:
        signatures: the ways to ask it for predictions, by name, and for explanations of them.
        task: what follows from what it predicts.
        contract: what its rows must keep, as it was trained; None if it carries none. `predict` does not look at it.
        example: a real row that it can be asked with; None if it carries none.
    """

    def __init__(
        self,
        version: int,
        session: Any,
        signatures: Mapping[str, Signature],
        calls: Mapping[str, Any],
        contract: Contract | None = None,
        example: dict[str, Any] | None = None,
    ) -> None:
        self.version = version
        self.task = task_of(None) if contract is None else task_of(contract.target, contract.quantiles)
        added = {name: Column(name, dtype, (None,)) for name, dtype in self.task.added.items()}
        self.signatures = {name: replace(signature, added=added) for name, signature in signatures.items()}
        self.contract = contract
        self.example = example
        self._session = session
        self._calls = dict(calls)
        self._idle = threading.Condition()
        self._running = 0
        self._closed = False

    @property
    def inputs(self) -> Inputs:
        """The named columns that `predict` takes."""
        return self.signatures[RAW].inputs

    @property
    def outputs(self) -> Mapping[str, Column]:
        """What `predict` gives, by name."""
        return self.signatures[RAW].outputs

    @property
    def computed(self) -> Mapping[str, Column]:
        """What of that its graph gives."""
        return self.signatures[RAW].computed

    def signature(self, name: str) -> Signature:
        """Returns the signature of that name, or raises UnknownModelError."""
        try:
            return self.signatures[name]
        except KeyError:
            if name == EXPLAIN:
                raise UnknownModelError(
                    f"Version {self.version} cannot explain its answers, because models could not yet when it was "
                    "trained; train and push a new one with: flightdeck run",
                    "signature_name",
                ) from None
            known = ", ".join(sorted(self.signatures))
            raise UnknownModelError(f"The model has no signature `{name}`; it has {known}.", "signature_name") from None

    def predict(self, columns: Columns, signature: str = RAW) -> Columns:
        """Returns the outputs for some rows. May be called from several threads at once.

        Per input of the signature it takes an array as `columns.from_rows` makes it, or serialised tf.Examples as
        objects (bytes) [rows].

        Raises:
            UnprocessableError: the graph refuses the values, such as an example without a required column.
            NotReadyError: the model is closed.
        """
        import tensorflow as tf

        asked = self.signature(signature)
        with self._in_use():
            try:
                values = self._calls[signature](*[columns[name] for name in asked.inputs.names])
            except (tf.errors.InvalidArgumentError, tf.errors.OutOfRangeError, UnicodeEncodeError) as error:
                raise UnprocessableError(f"The model refuses the request: {one_line(error)}") from None
        return self.task.named(dict(zip(asked.computed, values, strict=True)))

    def warm_up(self) -> None:
        """Asks every signature once per usual size: the first call of each optimises the graph, and takes long.

        Raises LoadError if the model does not answer, or not once per row.
        """
        import tensorflow as tf

        for rows in _WARM_UP_ROWS:
            try:
                outputs = self.predict({name: column.missing(rows) for name, column in self.inputs.columns.items()})
            except (UnprocessableError, tf.errors.OpError) as error:
                raise LoadError(f"The model does not answer: {one_line(error)}") from None
            for name, values in outputs.items():
                if values.shape[:1] != (rows,):
                    raise LoadError(f"The output `{name}` has the shape {list(values.shape)} for {rows} rows.")
            if EXAMPLES in self.signatures:
                (name,) = self.signatures[EXAMPLES].inputs.names
                # An example made of the raw columns may not be what the signature wants. That is no fault.
                with contextlib.suppress(UnprocessableError):
                    self.predict({name: objects([_example(self.inputs.columns)] * rows)}, EXAMPLES)

    def close(self) -> None:
        """Waits for predictions that run, and gives the memory back. The model cannot be asked any more."""
        with self._idle:
            self._closed = True
            self._idle.wait_for(lambda: not self._running)
        self._calls.clear()
        if self._session is not None:
            self._session.close()
            self._session = None
            gc.collect()  # The graph is full of cycles.

    @contextlib.contextmanager
    def _in_use(self) -> Iterator[None]:
        with self._idle:
            if self._closed:
                raise NotReadyError(f"Version {self.version} has just been unloaded; ask again.")
            self._running += 1
        try:
            yield
        finally:
            with self._idle:
                self._running -= 1
                self._idle.notify_all()


def load(folder: Path, version: int, threads: int | None = None) -> LoadedModel:
    """Loads a SavedModel; one in a bucket from a copy that lasts as long as that takes.

    Args:
        folder: of the SavedModel.
        version: the number to call it by.
        threads: for the parts of one operation (intra-op); None lets TensorFlow choose. The first model that a
            process loads decides.

    Raises:
        LoadError: it is no SavedModel, is damaged, or has no signature for named columns; or its contract is damaged,
            or is not that of this model.
    """
    tensorflow()  # before anything is fetched
    here = folder
    try:
        with storage.on_disk(folder) as here:
            return _load(here, version, threads)
    except LoadError as error:
        raise LoadError(str(error).replace(str(here), str(folder))) from error
    except OSError as error:  # of a bucket
        raise LoadError(f"{folder} cannot be read: {storage.why(error)}") from error


def _load(folder: Path, version: int, threads: int | None) -> LoadedModel:
    tf = tensorflow()
    if not (folder / "saved_model.pb").is_file():
        raise LoadError(f"{folder} holds no saved_model.pb.")
    config = tf.compat.v1.ConfigProto(
        device_count=devices(), intra_op_parallelism_threads=threads or 0, inter_op_parallelism_threads=1
    )
    config.gpu_options.allow_growth = True
    graph = tf.Graph()
    session = tf.compat.v1.Session(graph=graph, config=config)
    try:
        with _LOADING, graph.as_default():
            meta_graph = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(folder))
        signatures: dict[str, Signature] = {}
        calls: dict[str, Any] = {}
        for name in (RAW, EXAMPLES, EXPLAIN):
            if name in meta_graph.signature_def:
                signatures[name], calls[name] = _callable(session, name, meta_graph.signature_def[name])
        if RAW not in signatures:
            known = sorted(name for name in meta_graph.signature_def if not name.startswith("__"))
            raise LoadError(f"{folder} has no signature {RAW}; it has {', '.join(known) or 'none'}.")
        contract = contracts.read(folder, signatures[RAW].inputs.types)
        loaded = LoadedModel(
            version, session, signatures, calls, contract, example_row.read(folder, signatures[RAW].inputs)
        )
        _check_outputs(folder, loaded)
    except LoadError:
        session.close()
        raise
    except Exception as error:
        # Whatever a damaged file makes TensorFlow raise (OpError, DecodeError, OSError, KeyError and others): the
        # model is refused, and the service goes on with the one it has.
        session.close()
        raise LoadError(f"{folder} cannot be loaded: {one_line(error)}") from error
    return loaded


# Loading changes TensorFlow's current graph, which is a state of the thread, and its variable scopes, which are not.
_LOADING = threading.Lock()


def one_line(error: BaseException) -> str:
    """Returns the line of an error that says what happened; TensorFlow wraps it in names of nodes and stack traces."""
    lines = [_GRAPH_NOISE.sub("", line).strip() for line in str(error).splitlines()]
    telling = [line for line in lines if line and not line.startswith(_GRAPH_HEADERS)]
    return (telling[0] if telling else type(error).__name__)[:_LONGEST_REASON]


def _check_outputs(folder: Path, model: LoadedModel) -> None:
    """Raises a LoadError if the model does not give what its contract says: its answers would have wrong names."""
    task = model.task
    for signature in model.signatures.values():
        given = signature.computed.get(task.output)
        if model.contract is None or model.contract.target is None or (given and given.shape[1:] == (task.width,)):
            continue
        shapes = ", ".join(f"{name} {list(column.shape)}" for name, column in signature.computed.items())
        raise LoadError(
            f"{folder} predicts {task.phrase} by its contract, so {signature.name} must give {task.output} "
            f"{[None, task.width]}; it gives {shapes}."
        )


def _callable(session: Any, name: str, definition: Any) -> tuple[Signature, Any]:
    from tensorflow.core.protobuf import config_pb2

    # `Session.make_callable` with feeds is `Session.run` in disguise, which looks every feed up anew: three times as
    # slow. The graph runs in the calling thread, because handing it to another one costs as much as a small batch.
    options = config_pb2.CallableOptions(
        feed=[info.name for info in definition.inputs.values()],
        fetch=[info.name for info in definition.outputs.values()],
        run_options=config_pb2.RunOptions(inter_op_thread_pool=-1),
    )
    signature = Signature(
        name,
        Inputs({key: _column(key, info) for key, info in definition.inputs.items()}),
        {key: _column(key, info) for key, info in definition.outputs.items()},
    )
    return signature, session._make_callable_from_options(options)


def _column(name: str, info: Any) -> Column:
    import tensorflow as tf

    sizes = tuple(None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim)
    return Column(name, tf.dtypes.as_dtype(info.dtype).name, sizes, info.name)


def _example(columns: Mapping[str, Column]) -> bytes:
    import tensorflow as tf

    features = tf.train.Features()
    for name, column in columns.items():
        if column.dtype == "string":
            features.feature[name].bytes_list.value.append(b"")
        elif column.dtype.startswith("float"):
            features.feature[name].float_list.value.append(0.0)
        else:
            features.feature[name].int64_list.value.append(0)
    return tf.train.Example(features=features).SerializeToString()
