"""The same promises in a folder, in Cloud Storage and in S3."""

import contextlib
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import storage
from errors import FlightdeckError
from tests.world import ROOT

pytestmark = pytest.mark.unit


def write_model(folder: Path, content: str = "model") -> Path:
    (folder / "variables").mkdir(parents=True)
    (folder / "variables" / "variables.index").write_text(content)
    (folder / "saved_model.pb").write_text(content)
    return folder


# Reads a file as the last thing that a process does, many times. In every second one, a thread of Arrow's that let a
# file of Python's go after the interpreter had ended was the end of the process: SIGABRT.
READERS = """
import os, sys
from pathlib import Path
import pyarrow.parquet as pq
import storage
for _ in range(20):
    child = os.fork()
    if not child:
        with storage.opened(Path(sys.argv[1])) as stream:
            pq.ParquetFile(stream).read()
        sys.exit()
    _, status = os.waitpid(child, 0)
    assert status == 0, status
"""


class TestFiles:
    """Single files."""

    def test_arrow_reads_it_and_says_if_there_is_none(self, place: Path) -> None:
        place.mkdir(exist_ok=True)
        with pytest.raises(FileNotFoundError), storage.opened(place / "it.csv"):
            pass
        storage.write(place / "it.csv", "a,b")
        with storage.opened(place / "it.csv") as stream:
            assert stream.read() == b"a,b"

    def test_a_process_ends_well_after_it(self, tmp_path: Path) -> None:
        pq.write_table(pa.table({f"column {number}": [1, 2, 3] for number in range(30)}), tmp_path / "it.parquet")
        command = [sys.executable, "-c", READERS, str(tmp_path / "it.parquet")]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
        assert done.returncode == 0, done.stderr

    def test_a_file_is_made_and_replaced(self, place: Path) -> None:
        file = place / "it.json"
        place.mkdir(exist_ok=True)
        storage.write(file, "Grüße")
        storage.write(file, b"again")
        assert file.read_text("utf-8") == "again"
        assert [entry.name for entry in storage.entries(place)] == ["it.json"]

    def test_a_staged_file_appears_whole_at_its_place_and_leaves_nothing(self, place: Path) -> None:
        target = place / "day" / "rows.parquet"
        target.parent.mkdir(parents=True, exist_ok=True)
        staged = storage.staging(target)
        staged.write_bytes(b"x" * 6_000_000)  # more than one request takes
        assert not target.exists()
        storage.publish(staged, target)
        assert target.stat().st_size == 6_000_000
        assert not staged.exists()
        assert list(storage.files_below(place)) == ["day/rows.parquet"]

    def test_of_two_writers_who_know_the_same_state_one_is_told(self, place: Path) -> None:
        place.mkdir(exist_ok=True)
        file = place / "record.json"
        assert storage.state(file) is None
        storage.replace(file, "first", None)
        with pytest.raises(storage.ChangedError):
            storage.replace(file, "second", None)
        known = storage.state(file)
        storage.replace(file, "third", known)
        with pytest.raises(storage.ChangedError):
            storage.replace(file, "lost", known)
        assert file.read_text() == "third"

    def test_of_many_who_make_a_file_at_once_one_does(self, place: Path) -> None:
        place.mkdir(exist_ok=True)
        file, made, barrier = place / "claim", [], threading.Barrier(8)

        def claim(number: int) -> None:
            barrier.wait()
            try:
                storage.replace(file, str(number), None)
            except storage.ChangedError:
                return
            made.append(number)

        threads = [threading.Thread(target=claim, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [file.read_text()] == [str(number) for number in made]

    def test_what_is_written_by_others_is_seen_at_once(self, place: Path) -> None:
        folder = place / "day"
        assert storage.entries(folder) == []
        write_model(folder / "7")
        assert [entry.name for entry in storage.entries(folder)] == ["7"]
        before = storage.files_below(folder)
        storage.write(folder / "7" / "saved_model.pb", "another")
        after = storage.files_below(folder)
        assert list(before) == list(after) == ["7/saved_model.pb", "7/variables/variables.index"]
        assert [name for name in after if after[name] != before[name]] == ["7/saved_model.pb"]
        assert after["7/saved_model.pb"][0] == 7


class TestFolders:
    """Folders with all that is in them."""

    def test_a_copy_has_every_file(self, place: Path) -> None:
        source = write_model(place / "source")
        place.joinpath("copies").mkdir(exist_ok=True)
        storage.copy_folder(source, place / "copies" / "9", last="saved_model.pb")
        copied = place / "copies" / "9"
        assert list(storage.files_below(copied)) == ["saved_model.pb", "variables/variables.index"]
        assert (copied / "saved_model.pb").read_text() == "model"
        assert [entry.name for entry in storage.entries(place / "copies")] == ["9"]

    def test_a_folder_is_copied_to_this_machine_and_back(self, place: Path, tmp_path: Path) -> None:
        storage.copy_folder(write_model(tmp_path / "source"), place / "there")
        with storage.on_disk(place / "there") as folder:
            assert (folder / "variables" / "variables.index").read_text() == "model"
            assert isinstance(folder, Path)
        with storage.on_disk(place / "there" / "saved_model.pb") as file:
            assert file.read_text() == "model"
        assert (place / "there" / "saved_model.pb").exists()

    def test_a_folder_is_removed_with_all_files(self, place: Path) -> None:
        write_model(place / "1")
        write_model(place / "11")
        storage.remove_folder(place / "1", first="saved_model.pb")
        assert [entry.name for entry in storage.entries(place)] == ["11"]
        assert len(storage.files_below(place)) == 2


@pytest.mark.parametrize("place", ["gs", "s3"], indirect=True)
class TestFailures:
    """What only a server can do to one."""

    def test_a_bucket_that_is_not_there_is_an_os_error(self, place: Path) -> None:
        scheme = str(place).partition("://")[0]
        with pytest.raises(OSError, match=r"\w") as refused:
            storage.write(storage.at(f"{scheme}://not-there") / "x", "y")
        assert "\n" not in storage.why(refused.value)

    def test_what_other_clients_put_there_as_a_sign_of_a_folder_is_no_file(self, place: Path) -> None:
        """TensorFlow makes such objects, whose names end in a slash."""
        for name in ("7", "7/assets"):
            place.fs.put_if(f"{(place / name).path}/", b"", None)  # pyright: ignore[reportAttributeAccessIssue]
        storage.write(place / "7" / "x", "content")
        assert list(storage.files_below(place)) == ["7/x"]
        assert [entry.name for entry in storage.entries(place / "7")] == ["assets", "x"]
        assert (place / "7" / "assets").is_dir()
        with storage.on_disk(place / "7") as folder:
            assert (folder / "x").read_text() == "content"
        storage.remove_folder(place / "7")
        assert storage.entries(place) == []

    def test_a_server_that_refuses_is_an_os_error(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with _refusing() as address:
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
            monkeypatch.setenv("AWS_ENDPOINT_URL", address)
            fsspec.filesystem(str(place).partition("://")[0]).clear_instance_cache()
            with pytest.raises(OSError, match=r"\w"):
                (place / "x").read_bytes()
        fsspec.filesystem(str(place).partition("://")[0]).clear_instance_cache()


@contextlib.contextmanager
def _refusing() -> Iterator[str]:
    """A server that lets nobody in."""

    class Handler(BaseHTTPRequestHandler):
        def __getattr__(self, name: str) -> Callable[[], None]:
            if name.startswith("do_"):
                return self._refuse
            raise AttributeError(name)

        def _refuse(self) -> None:
            self.send_response(401)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_bucket_of_another_kind_is_refused() -> None:
    with pytest.raises(FlightdeckError, match="begins with gs:// or s3://"):
        storage.at("ftp://somewhere/else")
