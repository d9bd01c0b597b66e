"""TensorFlow, TFX and Beam read and write the same bucket with their own clients."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import storage
from tests.services import buckets, google

pytestmark = pytest.mark.component

# In a process of its own: TensorFlow reads the environment when it is imported.
SCRIPT = """
import sys
import tensorflow as tf
from apache_beam.io.filesystems import FileSystems
from tfx.dsl.io import fileio
from tfx.utils import io_utils

bucket = sys.argv[1]
with tf.io.TFRecordWriter(f"{bucket}/records/one.gz", "GZIP") as writer:
    for number in range(1000):
        writer.write(str(number).encode() * 100)
read = [record.numpy() for record in tf.data.TFRecordDataset(f"{bucket}/records/one.gz", "GZIP")]
assert read == [str(number).encode() * 100 for number in range(1000)]

module = tf.Module()
module.x = tf.Variable(tf.ones([100_000]))
tf.saved_model.save(module, f"{bucket}/model")
assert float(tf.reduce_sum(tf.saved_model.load(f"{bucket}/model").x)) == 100_000

assert fileio.isdir(f"{bucket}/model") and not fileio.exists(f"{bucket}/nothing")
io_utils.copy_dir(f"{bucket}/model", f"{bucket}/versions/7")
fileio.rename(f"{bucket}/records/one.gz", f"{bucket}/records/two.gz", overwrite=True)
assert fileio.listdir(f"{bucket}/records") == ["two.gz"]
fileio.rmtree(f"{bucket}/model")
assert not fileio.exists(f"{bucket}/model/saved_model.pb")

# Its renames and removals are batches of requests, which the emulator does not know.
with FileSystems.create(f"{bucket}/beam/whole") as file:
    file.write(b"by Beam")
(match,) = FileSystems.match([f"{bucket}/beam/*"])
assert [found.path for found in match.metadata_list] == [f"{bucket}/beam/whole"]
with FileSystems.open(f"{bucket}/beam/whole") as file:
    assert file.read() == b"by Beam"
with tf.io.gfile.GFile(f"{bucket}/from/storage") as file:
    assert file.read() == "by storage"
print("done")
"""


def test_what_one_client_writes_the_others_read(tmp_path: Path) -> None:
    with buckets.cloud_storage() as gs, buckets.variables(gs, gs), google.pretended(gs, tmp_path) as variables:
        bucket = storage.at(buckets.new_bucket("gs"))
        storage.write(bucket / "from" / "storage", "by storage")
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(bucket).rstrip("/")],
            env=os.environ | variables,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.stdout == "done\n", done.stderr[-3000:]
        names = list(storage.files_below(bucket))
        assert (bucket / "beam" / "whole").read_bytes() == b"by Beam"
        with storage.on_disk(bucket / "versions" / "7") as folder:
            assert (folder / "saved_model.pb").is_file()
            assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) > 400_000
    assert [name for name in names if not name.endswith("/") and not name.startswith("versions/7")] == [
        "beam/whole",
        "from/storage",
        "records/two.gz",
    ]
