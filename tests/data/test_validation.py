"""TFDV enforces the curated schema: silent on the real spans, loud on every kind of damage.

Statistics are taken from tf.Examples, encoded and decoded by the code that a pipeline uses, because that is
the form in which a pipeline validates.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow_data_validation as tfdv
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder, RecordBatchToExamplesEncoder

from data.contract import Contract
from data.prepare import Preparation, slice_spans
from data.schema_diff import SchemaDifference, curated, diff, read

pytestmark = pytest.mark.component
Statistics = statistics_pb2.DatasetFeatureStatisticsList


@pytest.fixture(scope="module")
def schema(schema_path: Path, contract: Contract) -> schema_pb2.Schema:
    return curated(schema_path, contract)


@pytest.fixture(scope="module")
def span_tables(year: Preparation, contract: Contract) -> dict[int, pa.Table]:
    columns = list(contract.ingested())
    return {span.span: pq.read_table(span.path, columns=columns) for span in year.spans}


@pytest.fixture(scope="module")
def sample(year: Preparation, contract: Contract, tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    (path,) = slice_spans(year.path, tmp_path_factory.mktemp("sample"), 1000, [6])
    return pq.read_table(path, columns=list(contract.ingested()))


def listed(table: pa.Table) -> pa.RecordBatch:
    """The rows in the list columns of tf.Examples; a missing value is a null list, and NaN stays what it is."""
    lists = []
    for column in table.combine_chunks().columns:
        values = column.combine_chunks().cast(pa.large_binary() if pa.types.is_string(column.type) else column.type)
        offsets = np.concatenate([[0], np.cumsum(values.is_valid().to_numpy(zero_copy_only=False))])
        array = pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), values.drop_null(), mask=values.is_null())
        lists.append(array)
    return pa.record_batch(lists, names=table.column_names)


def statistics(table: pa.Table, through_bytes: bool = True) -> Statistics:
    """TFDV's statistics over the rows as tf.Examples; through bytes as in a pipeline, but not for a whole year."""
    batch = listed(table)
    if through_bytes:
        batch = ExamplesToRecordBatchDecoder().DecodeBatch(RecordBatchToExamplesEncoder().encode(batch))
    return stats_impl.generate_statistics_in_memory(batch, tfdv.StatsOptions())


def problems(seen: Statistics, schema: schema_pb2.Schema, **options: Any) -> dict[str, set[str]]:
    """The names of the rules broken, by column; the data set as a whole under its own name."""
    anomalies = tfdv.validate_statistics(seen, schema, **options)
    kinds = anomalies_pb2.AnomalyInfo.Type
    broken = {
        column: {kinds.Name(rule.type) for rule in info.reason} for column, info in anomalies.anomaly_info.items()
    }
    whole = {kinds.Name(rule.type) for rule in anomalies.dataset_anomaly_info.reason}
    return {**broken, **({"(data set)": whole} if whole else {})}


def replaced(table: pa.Table, name: str, change: Callable[[list], list], kind: Any = None) -> pa.Table:
    index = table.schema.get_field_index(name)
    kind = kind or table.schema.field(name).type
    return table.set_column(index, name, pa.array(change(table[name].to_pylist()), kind))


def first(value: Any) -> Callable[[list], list]:
    return lambda values: [value, *values[1:]]


def test_every_span_and_the_year_split_for_training_are_valid_whatever_is_predicted(schema_path, year):
    schema = read(schema_path)
    columns = [feature.name for feature in schema.feature]
    span_tables = {span.span: pq.read_table(span.path, columns=columns) for span in year.spans}
    by_span = {span: statistics(table, through_bytes=False) for span, table in span_tables.items()}
    for span, seen in by_span.items():
        assert problems(seen, schema, environment="TRAINING") == {}, span
    older = statistics(pa.concat_tables([span_tables[span] for span in range(1, 12)]), through_bytes=False)
    assert problems(older, schema, environment="TRAINING") == {}
    for span in range(2, 13):
        assert problems(by_span[span], schema, previous_statistics=by_span[span - 1]) == {}, span
    assert problems(by_span[12], schema, previous_statistics=older) == {}


@pytest.mark.parametrize("span", [1, 8, 12])
def test_small_samples_of_a_span_are_valid(schema, year, contract, tmp_path, span):
    for seed in range(3):
        (path,) = slice_spans(year.path, tmp_path, 300, [span], seed=seed)
        seen = statistics(pq.read_table(path, columns=list(contract.ingested())))
        assert problems(seen, schema) == {}


def test_requests_are_valid_without_the_label_and_training_data_is_not(schema, sample, contract):
    seen = statistics(sample.drop_columns([contract.label]))

    assert problems(seen, schema, environment="SERVING") == {}
    assert problems(seen, schema, environment="TRAINING") == {contract.label: {"SCHEMA_MISSING_COLUMN"}}


@pytest.mark.parametrize(
    ("column", "change", "rules"),
    [
        ("carrier", first("ZZ"), {"ENUM_TYPE_UNEXPECTED_STRING_VALUES"}),
        ("origin", first("EWR "), {"ENUM_TYPE_UNEXPECTED_STRING_VALUES"}),
        ("departure_band", first("noon"), {"ENUM_TYPE_UNEXPECTED_STRING_VALUES"}),
        ("plane_engine", first("Warp"), {"ENUM_TYPE_UNEXPECTED_STRING_VALUES"}),
        ("sched_dep_minute", first(1440), {"INT_TYPE_BIG_INT"}),
        ("sched_arr_minute", first(-1), {"INT_TYPE_SMALL_INT"}),
        ("day_of_week", first(7), {"INT_TYPE_BIG_INT"}),
        ("plane_seats", first(0), {"INT_TYPE_SMALL_INT"}),
        ("arrived_late", first(2), {"INT_TYPE_BIG_INT"}),
        ("distance", first(-5.0), {"FLOAT_TYPE_SMALL_FLOAT"}),
        ("visib", first(9999.0), {"FLOAT_TYPE_BIG_FLOAT"}),
        ("temp", first(float("nan")), {"FLOAT_TYPE_HAS_NAN"}),
        ("distance", first(float("inf")), {"FLOAT_TYPE_BIG_FLOAT", "FLOAT_TYPE_HAS_INF"}),
        ("carrier", first(None), {"FEATURE_TYPE_LOW_FRACTION_PRESENT"}),
        ("arrived_late", first(None), {"FEATURE_TYPE_LOW_FRACTION_PRESENT"}),
        ("plane_year", lambda values: [None] * 500 + values[500:], {"FEATURE_TYPE_LOW_FRACTION_PRESENT"}),
        ("wind_gust", lambda values: [None] * len(values), {"FEATURE_TYPE_NOT_PRESENT"}),
        ("dest", lambda values: ["QQQ"] * 50 + values[50:], {"ENUM_TYPE_UNEXPECTED_STRING_VALUES"}),
        ("plane_manufacturer", lambda values: ["AC"] * 50 + values[50:], {"ENUM_TYPE_UNEXPECTED_STRING_VALUES"}),
    ],
)
def test_damage_to_one_column_is_an_anomaly_of_that_column(schema, sample, column, change, rules):
    seen = problems(statistics(replaced(sample, column, change)), schema)

    assert set(seen) == {column}
    assert rules <= seen[column]


@pytest.mark.parametrize(("column", "new"), [("dest", "QQQ"), ("plane_manufacturer", "ACME")])
def test_a_few_new_categories_are_tolerated_where_the_contract_is_open(schema, sample, column, new):
    seen = statistics(replaced(sample, column, lambda values: [new] * 10 + values[10:]))

    assert problems(seen, schema) == {}


def test_a_missing_an_extra_and_a_mistyped_column_are_anomalies(schema: schema_pb2.Schema, sample: pa.Table):
    missing = sample.drop_columns(["humid"])
    extra = sample.append_column("gate", pa.array(["A1"] * len(sample)))
    mistyped = replaced(sample, "distance", lambda values: [str(value) for value in values], pa.string())

    assert problems(statistics(missing), schema) == {"humid": {"SCHEMA_MISSING_COLUMN"}}
    assert problems(statistics(extra), schema) == {"gate": {"SCHEMA_NEW_COLUMN"}}
    assert set(problems(statistics(mistyped), schema)) == {"distance"}


def test_a_split_with_too_few_rows_is_an_anomaly(schema: schema_pb2.Schema, sample: pa.Table):
    seen = problems(statistics(sample.slice(0, 60)), schema)

    assert seen["(data set)"] == {"DATASET_LOW_NUM_EXAMPLES"}


def test_a_jump_larger_than_the_year_ever_showed_is_drift(schema: schema_pb2.Schema, span_tables: dict[int, pa.Table]):
    march, july = (statistics(span_tables[span]) for span in (3, 7))
    rerouted = replaced(span_tables[3], "origin", lambda values: ["JFK"] * 5000 + values[5000:])
    warmer = problems(july, schema, previous_statistics=march)
    moved = problems(statistics(rerouted), schema, previous_statistics=march)

    assert warmer["temp"] == {"COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH"}
    assert moved == {"origin": {"COMPARATOR_L_INFTY_HIGH"}}


def test_served_rows_are_compared_with_the_rows_trained_on(schema, span_tables, year, tmp_path, contract):
    trained = statistics(span_tables[6])
    (path,) = slice_spans(year.path, tmp_path, 1000, [6], seed=7)
    served = pq.read_table(path, columns=list(contract.ingested(labelled=False)))
    celsius = replaced(served, "temp", lambda values: [(value - 32) / 1.8 for value in values])

    def skew(rows: pa.Table) -> dict[str, set[str]]:
        return problems(trained, schema, environment="TRAINING", serving_statistics=statistics(rows))

    assert skew(served) == {}
    assert skew(celsius) == {"temp": {"COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH"}}


def test_the_schema_tfdv_infers_differs_only_where_a_person_decided(schema_path, span_tables, contract, tmp_path):
    inferred = tfdv.infer_schema(statistics(span_tables[1], through_bytes=False), infer_feature_shape=True)
    tfdv.write_schema_text(inferred, str(tmp_path / "schema.pbtxt"))

    seen = diff(schema_path, tmp_path, contract.ignored())

    assert {one.what for one in seen} == {"presence", "values", "range"}
    # January had every carrier and weather for every flight; the curated schema counts on the former only.
    assert not [one for one in seen if one.column == "carrier"]
    assert SchemaDifference("temp", "presence", curated="optional", inferred="required") in seen
    assert all(one.inferred == "any number" for one in seen if one.what == "range")
