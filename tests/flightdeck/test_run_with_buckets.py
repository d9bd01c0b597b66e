"""A run on this machine whose spans come from a bucket, and whose model goes to one."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

import storage
from data.prepare import slice_spans
from tests.services import buckets, google
from tests.world import World

pytestmark = pytest.mark.proof


def test_spans_come_from_a_bucket_and_the_model_goes_to_one(prepared: Path, tmp_path: Path) -> None:
    with buckets.cloud_storage() as gs, buckets.variables(gs, gs), google.pretended(gs, tmp_path) as variables:
        bucket = storage.at(buckets.new_bucket("gs"))
        spans = bucket / "spans"
        slice_spans(prepared, spans, rows_per_span=1500, spans=(1, 2, 3))
        world = World(tmp_path / "workspace", spans, (f"push.destination={bucket}models",), variables)

        assert world.json("data", "check")["fits"]
        run = world.json("run")
        assert run["outcome"] == "pushed"
        (version,) = world.json("models", "list")
        assert version["folder"].startswith("gs://")
        assert version["served"]
        files = storage.files_below(storage.at(version["folder"]))
        assert "saved_model.pb" in files
        assert any(name.startswith("variables/") for name in files)

        # Nothing has changed, and so nothing is pushed again.
        assert world.json("run")["version"] == str(version["number"])
        # Another model is, and can be gone back from.
        assert world.json("run", overrides=("model.epochs=2",))["outcome"] == "pushed"
        assert world.json("models", "rollback")["restores"] == version["number"]
        (rows,) = (prepared / "span-004").glob("*.parquet")
        world.says("predict", str(rows), "-o", str(tmp_path / "predictions.parquet"))
        assert pq.read_metadata(tmp_path / "predictions.parquet").num_rows == pq.read_metadata(rows).num_rows
