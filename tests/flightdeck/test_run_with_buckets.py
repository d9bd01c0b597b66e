"""A run on this machine whose spans come from a bucket, and whose model goes to one."""

import json
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import storage
from data.prepare import slice_spans
from tests import forked
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

        # Whole spans are predicted where they are, and a run is reproduced from what the bucket has.
        predictions = bucket / "predictions.parquet"
        answered = world.json("predict", "--window", "2:3", "-o", str(predictions))
        assert (answered["rows"], answered["through"], answered["output"]) == (3000, "pipeline", str(predictions))
        with predictions.open("rb") as stream:
            assert pq.read_metadata(stream).num_rows == 3000
        file = f"{spans}/span-002/{rows.name}"
        assert world.json("predict", file, "-o", str(tmp_path / "of_a_file.parquet"))["rows"] == 1500
        # Where things are is all that it may be told.
        places = ("--set", f"workspace={world.workspace}", "--set", f"data.spans={spans}")
        reproduce = ("flightdeck", "runs", "reproduce", run["run_id"], "--json", *places)
        made_again = forked.run(*reproduce, cwd=world.folder, env=os.environ | variables)
        assert made_again.returncode == 0, made_again.stderr
        assert json.loads(made_again.stdout)["identical"]
