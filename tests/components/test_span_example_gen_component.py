"""SpanExampleGen under TFX's local runner, with real Beam pipelines and a SQLite metadata store."""

import json
import shlex
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from components.examples import read
from components.span_example_gen.component import SpanExampleGen
from components.span_example_gen.errors import SpanError
from components.span_example_gen.executor import _check_complete
from components.span_example_gen.request import PARQUET, TF_EXAMPLE, Request
from components.span_example_gen.shards import TALLY_JSON, Tally, WriteShard, plan_shards
from components.span_example_gen.window import QUARANTINE
from tests.components.local_runs import IN_MEMORY, Workspace
from tests.components.span_folders import COLUMNS, parcels, write_span, write_spans

pytestmark = pytest.mark.component

either_format = pytest.mark.parametrize("payload_format", [PARQUET, TF_EXAMPLE])


class Parcels(Workspace):
    """One pipeline of SpanExampleGen alone, which can be run again and again."""

    def ingest(self, base, beam_args=IN_MEMORY, columns=COLUMNS, **parameters):
        """Runs the pipeline once and returns the newest Examples artifact of the store."""
        self.run(SpanExampleGen(str(base), columns, **parameters), name="parcels", beam_args=beam_args)
        return self.examples()[-1]

    def examples(self):
        return self.store.get_artifacts_by_type("Examples")


@pytest.fixture
def workspace(tmp_path) -> Parcels:
    root = tmp_path / "workspace"
    root.mkdir()
    return Parcels(root)


@pytest.fixture
def base(tmp_path) -> Path:
    return write_spans(tmp_path / "spans", [1, 2, 3])


def shards(artifact, split):
    return sorted(str(path) for path in Path(artifact.uri, f"Split-{split}").iterdir())


def features(artifact, split):
    """Returns every column's values, row by row in the order of the files, read back without our own reader."""
    files = shards(artifact, split)
    if files[0].endswith(".parquet"):
        return pa.concat_tables(map(pq.read_table, files)).to_pydict()
    kinds = {"int64": tf.int64, "float32": tf.float32, "string": tf.string}
    parse = {name: tf.io.RaggedFeature(kinds[declared]) for name, declared in COLUMNS.items()}
    dataset = tf.data.TFRecordDataset(files, compression_type="GZIP")
    rows = [tf.io.parse_single_example(record, parse) for record in dataset]
    return {name: [next(iter(row[name].numpy().tolist()), None) for row in rows] for name in COLUMNS}


def contents(artifact):
    root = Path(artifact.uri)
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def property_of(artifact, name):
    value = artifact.custom_properties[name]
    return getattr(value, value.WhichOneof("value"))


def expected(spans):
    """Returns the features of whole spans in the order in which they are to be found."""
    table = pa.concat_tables([parcels(span) for span in spans])
    return {
        "parcel": table["parcel"].to_pylist(),
        "weight": table["weight"].to_pylist(),
        "depot": [None if value is None else value.encode() for value in table["depot"].to_pylist()],
    }


@either_format
def test_the_splits_hold_every_row_and_value_of_their_spans_and_no_other(workspace, base, payload_format):
    artifact = workspace.ingest(base, payload_format=payload_format)
    assert features(artifact, "train") == expected([1, 2])
    assert features(artifact, "eval") == expected([3])
    assert set(features(artifact, "eval")["parcel"]).isdisjoint(features(artifact, "train")["parcel"])


@pytest.mark.parametrize(
    ("payload_format", "file_format"), [(PARQUET, "FILE_FORMAT_PARQUET"), (TF_EXAMPLE, "tfrecords_gzip")]
)
def test_the_artifact_says_what_it_holds(workspace, base, payload_format, file_format):
    artifact = workspace.ingest(base, window="newest-1:newest", payload_format=payload_format)
    assert json.loads(artifact.properties["split_names"].string_value) == ["train", "eval"]
    assert artifact.properties["span"].int_value == property_of(artifact, "span") == 3
    assert json.loads(property_of(artifact, "spans")) == [2, 3]
    assert property_of(artifact, "window") == "newest-1:newest"
    assert property_of(artifact, "input_fingerprint").startswith("sha256:")
    assert json.loads(property_of(artifact, "row_counts")) == {"train": 4, "eval": 4}
    assert property_of(artifact, "payload_format") == payload_format
    assert property_of(artifact, "file_format") == file_format
    (execution,) = workspace.executions()
    assert json.loads(execution.custom_properties["spans"].string_value) == [2, 3]


@pytest.mark.parametrize(
    ("payload_format", "name"), [(PARQUET, "data-{}.parquet"), (TF_EXAMPLE, "data_tfrecord-{}.gz")]
)
def test_nothing_but_the_shards_is_left_in_the_artifact(workspace, base, payload_format, name):
    write_span(base, 1, parcels(1, rows=10), row_group_size=4)
    write_span(base, 1, parcels(1, rows=0), name="empty.csv")
    assert set(contents(workspace.ingest(base, payload_format=payload_format))) == {
        *(f"Split-train/{name.format(f'{index:05d}-of-00004')}" for index in range(4)),
        f"Split-eval/{name.format('00000-of-00001')}",
    }


def test_no_evaluation_span_means_one_split_where_columns_may_be_empty(workspace, tmp_path):
    batch = parcels(7).drop_columns(["weight"]).append_column("weight", pa.nulls(4, pa.float32()))
    base = write_spans(tmp_path / "batch", [7], {7: batch})
    artifact = workspace.ingest(base, eval_spans=0)
    assert features(artifact, "all")["weight"] == [None] * 4
    assert json.loads(artifact.properties["split_names"].string_value) == ["all"]
    assert json.loads(property_of(artifact, "row_counts")) == {"all": 4}


def test_a_missing_value_has_no_kind_so_that_statistics_count_it_as_missing(workspace, base):
    (shard,) = shards(workspace.ingest(base, payload_format=TF_EXAMPLE), "eval")
    record = next(iter(tf.data.TFRecordDataset(shard, compression_type="GZIP").skip(1))).numpy()
    example = tf.train.Example.FromString(record)
    assert example.features.feature["parcel"].int64_list.value == [301]
    missing = [name for name, feature in example.features.feature.items() if feature.WhichOneof("kind") is None]
    assert missing == [name for name, value in parcels(3).slice(1, 1).to_pylist()[0].items() if value is None]
    assert missing


@either_format
def test_csv_and_parquet_and_columns_in_any_order_give_the_same_bytes(workspace, base, tmp_path, payload_format):
    def ingested(base, **parameters):
        return contents(workspace.ingest(base, payload_format=payload_format, **parameters))

    for span in (1, 2, 3):
        write_span(tmp_path / "csv", span, name="parcels.csv")
    from_parquet = ingested(base)
    assert ingested(tmp_path / "csv") == from_parquet
    assert ingested(base, columns=dict(reversed(COLUMNS.items()))) == from_parquet
    assert workspace.states() == ["COMPLETE", "COMPLETE", "COMPLETE"]


@either_format
def test_the_same_rows_give_the_same_bytes_in_other_processes(workspace, tmp_path, base, monkeypatch, payload_format):
    # Beam has a shell start its processes, which would take the path of a Python in a folder with a blank apart.
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    write_span(base, 2, parcels(2, rows=90), row_group_size=30)
    once = contents(workspace.ingest(base, payload_format=payload_format))
    (tmp_path / "other").mkdir()
    processes = ["--runner=FnApiRunner", "--direct_running_mode=multi_processing", "--direct_num_workers=2",
                 "--sdk_container_image=none"]  # fmt: skip
    again = Parcels(tmp_path / "other").ingest(base, beam_args=processes, payload_format=payload_format)
    assert contents(again) == once


def test_a_rerun_is_answered_from_the_cache_until_a_row_changes(workspace, base):
    first = workspace.ingest(base)
    path = write_span(base, 2)
    path.touch()
    assert workspace.ingest(base).id == first.id
    write_span(base, 2, parcels(2).set_column(0, "parcel", pa.array([200, 201, 202, 299], pa.int64())))
    assert features(workspace.ingest(base), "train")["parcel"][-1] == 299
    assert workspace.states() == ["COMPLETE", "CACHED", "COMPLETE"]


def test_the_newest_span_moves_on_when_another_arrives_and_a_fixed_window_stays_cached(workspace, base):
    for window in ("oldest:newest", "1:3"):
        workspace.ingest(base, window=window)
    write_span(base, 4)
    artifact = workspace.ingest(base)
    assert property_of(artifact, "span") == 4
    assert features(artifact, "train") == expected([1, 2, 3])
    assert features(artifact, "eval") == expected([4])
    workspace.ingest(base, window="1:3")
    assert workspace.states() == ["COMPLETE", "COMPLETE", "COMPLETE", "CACHED"]


def test_a_span_in_quarantine_is_left_out_and_named_until_it_is_released(workspace, base):
    whole = workspace.ingest(base)
    marker = base / "span-003" / QUARANTINE
    marker.write_text("its labels are wrong")
    without = workspace.ingest(base)
    assert features(without, "eval") == expected([2])
    assert property_of(without, "span") == 2
    assert json.loads(property_of(without, "quarantined")) == [3]
    marker.unlink()
    workspace.ingest(base)
    assert workspace.states() == ["COMPLETE", "COMPLETE", "CACHED"]
    assert "quarantined" not in whole.custom_properties


def test_a_refused_window_fails_its_execution_and_the_next_run_works(workspace, base):
    path = write_span(base, 3, parcels(3).drop_columns(["depot"]))
    with pytest.raises(SpanError, match="lacks the column 'depot'"):
        workspace.ingest(base)
    assert workspace.examples() == []
    assert workspace.states() == ["FAILED"]
    assert not list(workspace.folder.rglob("Split-*"))
    path.unlink()
    write_span(base, 3)
    assert features(workspace.ingest(base), "eval") == expected([3])
    assert workspace.states() == ["FAILED", "COMPLETE"]


def corrupt(base):
    path = write_span(base, 3, parcels(3, rows=500), compression="snappy", use_dictionary=False)
    content = path.read_bytes()
    path.write_bytes(content[:30] + b"\xff" * 370 + content[400:])


def nan_only(base):
    write_span(base, 3, parcels(3).set_column(1, "weight", pa.array(np.full(4, np.nan, np.float32))))


def csv(text):
    def write(base):
        (base / "span-003" / "parcels.parquet").unlink()
        (base / "span-003" / "parcels.csv").write_text(text)

    return write


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            csv("parcel,weight,depot\n300,1,a\nmany,2,b\n"),
            r"span-003/parcels\.csv cannot be read as CSV: in the column 'parcel': .* invalid value 'many'",
        ),
        (
            csv("parcel,weight,depot\n300,1,a\n301,2\n"),
            r"span-003/parcels\.csv cannot be read as CSV: .*Expected 3 columns",
        ),
        (csv("weight,parcel,depot\n,300,a\nnan,301,b\n"), "the column 'weight' holds no value in all of span-003"),
        (csv('parcel,weight,depot\n300,1,""\n301,2,\n'), "the column 'depot' holds no value in all of span-003"),
        (nan_only, "the column 'weight' holds no value in all of span-003"),
        (corrupt, r"span-003/parcels\.parquet cannot be read as Parquet"),
    ],
)
def test_rows_that_cannot_be_ingested_are_refused_and_leave_nothing_behind(workspace, base, damage, message):
    damage(base)
    with pytest.raises(SpanError, match=message):
        workspace.ingest(base)
    assert workspace.examples() == []
    assert workspace.states() == ["FAILED"]
    assert not list(workspace.folder.rglob("*.parquet"))


def planned(base, payload_format=PARQUET):
    resolution = Request(str(base), COLUMNS, "1:3", 1, (), payload_format).resolve()
    return plan_shards(resolution.splits, resolution.summaries, payload_format == PARQUET)


def test_a_large_row_group_is_written_and_read_in_parts(base, tmp_path):
    write_span(base, 3, parcels(3, rows=40_000), row_group_size=40_000)
    shard = planned(base)[-1]
    (tmp_path / "Split-eval").mkdir()
    list(WriteShard(COLUMNS, str(tmp_path), str(tmp_path)).process(shard))
    batches = [batch.num_rows for batch in read([str(tmp_path / shard.name)])]
    assert sum(batches) == 40_000
    assert max(batches) < 20_000
    written = pq.ParquetFile(tmp_path / shard.name).metadata
    assert [written.row_group(index).num_rows for index in range(written.num_row_groups)] == batches


@either_format
def test_a_retried_shard_replaces_its_first_attempt(base, tmp_path, payload_format):
    shard = planned(base, payload_format)[-1]
    output, staging = tmp_path / "output", tmp_path / "output" / ".staging"
    (output / "Split-eval").mkdir(parents=True)
    staging.mkdir()
    write = WriteShard(COLUMNS, str(output), str(staging))
    first, second = list(write.process(shard)), list(write.process(shard))
    assert first == second
    assert first[0].rows == {shard.name: 4}
    assert list((output / "Split-eval").iterdir()) == [output / shard.name]
    assert list(staging.iterdir()) == []


def test_a_runner_that_loses_work_is_found_out(base):
    shards = planned(base)
    rows = {shard.name: 4 for shard in shards}
    _check_complete(shards, Tally(rows=rows))
    del rows[shards[0].name]
    with pytest.raises(RuntimeError, match="lost 1 of 3 shards, Split-train/data-00000-of-00002"):
        _check_complete(shards, Tally(rows=rows))


def test_tallies_add_up_in_any_grouping():
    parts = [
        Tally(rows={f"shard-{n}": n}, values={n % 2: {"a": n, "b": 1}}, problems=("bad",) * (n == 3)) for n in range(5)
    ]  # fmt: skip
    whole = Tally.merged(parts)
    regrouped = Tally.merged([Tally.merged(parts[3:]), Tally.merged([]), Tally.merged(reversed(parts[:3]))])
    assert whole == regrouped == TALLY_JSON.validate_json(TALLY_JSON.dump_json(whole))
    assert whole.values == {0: {"a": 6, "b": 3}, 1: {"a": 4, "b": 2}}
