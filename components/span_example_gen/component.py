"""The TFX component SpanExampleGen."""

import json
from collections.abc import Mapping, Sequence

from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.orchestration import data_types
from tfx.types import channel, component_spec, standard_artifacts

from components.span_example_gen import request
from components.span_example_gen.driver import SpanDriver
from components.span_example_gen.executor import SpanExecutor
from components.span_example_gen.window import Window


class SpanExampleGenSpec(component_spec.ComponentSpec):
    """Parameters and outputs of SpanExampleGen."""

    PARAMETERS = {  # noqa: RUF012 - the form TFX asks for
        request.INPUT_BASE: component_spec.ExecutionParameter(type=str),
        request.COLUMNS: component_spec.ExecutionParameter(type=str),
        request.WINDOW: component_spec.ExecutionParameter(type=str),
        request.EVAL_SPANS: component_spec.ExecutionParameter(type=int),
        request.IGNORED: component_spec.ExecutionParameter(type=str),
        request.PAYLOAD_FORMAT: component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {}  # noqa: RUF012
    OUTPUTS = {  # noqa: RUF012
        request.EXAMPLES: component_spec.ChannelParameter(type=standard_artifacts.Examples),
    }


class SpanExampleGen(base_beam_component.BaseBeamComponent):
    """Ingests a window of spans, column by column, into shards of Parquet or of tf.Examples.

    A span is a folder `<input_base>/span-NNN` of Parquet or CSV files, for example one month. The newest
    spans of the window become the split `eval`, the older ones `train`; the split is by time, never at
    random.

    The driver resolves the window, checks every file by its footer or header and fingerprints their contents,
    so that a run on the same bytes is answered from the cache. The executor is a Beam pipeline over row
    groups; its output is the same to the byte on every run and every runner.

    As Parquet, columns are int64, float32 or large binary, and a missing value (null, NaN, an empty CSV field) is null.
    As tf.Examples in gzipped TFRecords, they are int64, float and bytes features with one value, or none where it is
    missing. A span whose folder holds a file `_QUARANTINE` is
    left out of every window, and `newest` means the newest other one.

    The custom properties of the output `examples` are `span` (the newest one), `spans` (JSON list), `quarantined`
    (JSON list, if anything was left out), `window`, `input_fingerprint` and `row_counts` (JSON, rows per split).
    """

    SPEC_CLASS = SpanExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(SpanExecutor)
    DRIVER_CLASS = SpanDriver

    def __init__(
        self,
        input_base: str | data_types.RuntimeParameter,
        columns: Mapping[str, str],
        window: str | data_types.RuntimeParameter = "oldest:newest",
        eval_spans: int = 1,
        ignored: Sequence[str] = (),
        payload_format: str = request.PARQUET,
    ) -> None:
        """Declares the component.

        Args:
            input_base: The folder that holds the spans; local, or any file system TFX can open.
            columns: The type (`int64`, `float32` or `string`) of every column to ingest, by name.
            window: `FIRST:LAST`, inclusive; each side a span number, `oldest`, `newest` or `newest-K`.
            eval_spans: How many of the newest spans of the window are for evaluation. With 0 all rows go into
                one split, `all`, and a column without any value is allowed: that is for inference.
            ignored: Columns that may be in the files and are not read. Any other column is refused.
            payload_format: `FORMAT_PARQUET`, or `FORMAT_TF_EXAMPLE` for components that read nothing else, such as
                TFX's BulkInferrer.

        Raises:
            SpanError: If a parameter makes no sense by itself.
        """
        request.Request(str(input_base), columns, str(window), eval_spans, tuple(ignored), payload_format)
        if isinstance(window, str):
            Window.parse(window)
        spec = SpanExampleGenSpec(
            input_base=input_base,
            columns=json.dumps(dict(columns)),
            window=window,
            eval_spans=eval_spans,
            ignored=json.dumps(list(ignored)),
            payload_format=payload_format,
            examples=channel.Channel(type=standard_artifacts.Examples),
        )
        super().__init__(spec=spec)
