"""Files and folders on this machine or in a bucket, gs:// or s3://, with pathlib's calls for both.

What is written appears whole or not at all, whenever the process is killed or the machine loses power: in a folder by a
rename, in a bucket because an object is. What two processes could both change is written with a condition.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import pyarrow as pa
    from upath import UPath

# Names that no server takes for a version, and that tell what was left behind by a process that was killed.
COPYING, REMOVING = ".copying-", ".removing-"
_PART = ".part"


class ChangedError(OSError):
    """Somebody else has written a file meanwhile."""


def at(location: str | os.PathLike[str]) -> Path:
    """The place that a location of the settings names: a `Path`, or for a URI what has the same methods.

    A bucket has no folders of its own: one without files does not exist, and `mkdir` makes nothing.
    """
    if not is_bucket(location):
        return Path(location)
    from storage import buckets

    return cast("Path", buckets.path(str(location)))


def is_bucket(place: str | os.PathLike[str]) -> bool:
    """Whether a location or place is in a bucket."""
    return "://" in str(place)


def why(error: OSError) -> str:
    """What went wrong, in one line."""
    return error.strerror or (str(error).strip().splitlines() or [type(error).__name__])[0]


def write(file: Path, content: str | bytes) -> None:
    """Writes a file, or replaces it in one step, rights and all; after an OSError, it is as it was before."""
    data = content.encode() if isinstance(content, str) else content
    if is_bucket(file):
        file.write_bytes(data)
        return
    staged = staging(file)
    try:
        staged.write_bytes(data)
        if file.is_file():
            shutil.copymode(file, staged)
        publish(staged, file)
    except OSError:
        staged.unlink(missing_ok=True)
        raise


def make_folder(folder: Path) -> None:
    """Makes a folder and those above it; in a bucket there is nothing to make."""
    if not is_bucket(folder):
        folder.mkdir(parents=True, exist_ok=True)


def staging(target: Path) -> Path:
    """A place on this machine for a file that is being written, to be given to `publish`.

    In a folder beside its target, as a rename does not leave a file system: a hidden file that ends in ``.part``.
    """
    name = f".{target.name}.{os.getpid()}{_PART}"
    return Path(tempfile.gettempdir()) / name if is_bucket(target) else target.with_name(name)


def publish(staged: Path, target: Path) -> None:
    """Moves a whole file to its place, in one step. In a bucket, after an OSError, the staged file is still there."""
    if is_bucket(target):
        _cloud(target).fs.put_file(str(staged), _cloud(target).path)
        staged.unlink(missing_ok=True)
        return
    # Without it a power cut after the rename may leave the new name with no content.
    _flush(staged)
    staged.replace(target)


def state(file: Path) -> str | None:
    """What a file is now, for `replace`: another one whenever it is written. None if there is none."""
    if is_bucket(file):
        from storage import buckets

        return buckets.state(_cloud(file))
    with contextlib.suppress(FileNotFoundError):
        status = file.stat()
        return f"{status.st_ino}:{status.st_mtime_ns}:{status.st_size}"
    return None


def replace(file: Path, content: str | bytes, known: str | None) -> None:
    """Writes a file if it is still as `state` said; None: if there is none yet. What it replaces is never lost unseen.

    In a bucket it decides that. A folder cannot: there, who writes holds a lock; only making a file needs none.

    Raises:
        ChangedError: somebody else has written it meanwhile.
    """
    data = content.encode() if isinstance(content, str) else content
    if is_bucket(file):
        from storage import buckets

        buckets.replace(_cloud(file), data, known)
    elif known is not None:
        if state(file) != known:
            raise ChangedError(f"{file} has changed meanwhile.")
        write(file, data)
    else:
        try:
            handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            raise ChangedError(f"{file} has been made meanwhile.") from None
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())


def entries(folder: Path) -> list[Path]:
    """Whatever lies in a folder, by name; nothing if there is none. Raises OSError if it cannot be read."""
    try:
        if is_bucket(folder):
            from storage import buckets

            return [folder / name for name in buckets.entries(_cloud(folder))]
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []


def files_below(folder: Path) -> dict[str, tuple[int, str]]:
    """The files of a folder and of those in it: place -> bytes, and what becomes another whenever it is written.

    Hidden ones are among them. A folder that is not there has none.
    """
    if is_bucket(folder):
        from storage import buckets

        return buckets.files_below(_cloud(folder))
    described = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            with contextlib.suppress(FileNotFoundError):  # it may be gone again
                status = path.stat()
                described[path.relative_to(folder).as_posix()] = (status.st_size, str(status.st_mtime_ns))
    return dict(sorted(described.items()))


def for_arrow(files: Sequence[Path]) -> tuple[list[str], Any]:
    """Files of one folder as pyarrow wants them: their names, and the file system that has them, None for this one."""
    if not files or not is_bucket(files[0]):
        return [str(file) for file in files], None
    return [_cloud(file).path for file in files], _cloud(files[0]).fs


@contextlib.contextmanager
def opened(file: Path) -> Iterator[pa.NativeFile]:
    """A file for pyarrow to read, of a bucket by a copy on this machine; raises FileNotFoundError if there is none.

    One of Arrow's own: its threads may still hold a file of Python's when the interpreter ends, and abort the process.
    """
    import pyarrow as pa

    if is_bucket(file) and not file.is_file():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(file))
    with on_disk(file) as place, pa.OSFile(str(place)) as stream:
        yield stream


@contextlib.contextmanager
def on_disk(folder: Path) -> Iterator[Path]:
    """A folder, or file, as this machine's file system has it: itself, or for the length of the block a copy."""
    if not is_bucket(folder):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="flightdeck-") as temporary:
        copy = Path(temporary) / folder.name
        if folder.is_file():
            _cloud(folder).fs.get_file(_cloud(folder).path, str(copy))
        else:
            copy.mkdir()
            _copy(folder, copy, files_below(folder))
        yield copy


def copy_folder(source: Path, target: Path, last: str | None = None) -> None:
    """Copies a folder to where there is none yet, so that a reader never takes a part of it for the whole.

    In a folder it appears in one step. In a bucket the file `last`, for which readers wait, comes after the others.

    Raises:
        ChangedError: somebody else has made it meanwhile.
        OSError: it cannot be copied; in a bucket, some files may be there.
    """
    names = list(files_below(source))
    if not names:
        raise FileNotFoundError(f"There is no file in {source}.")
    if is_bucket(target):
        _copy(source, target, [name for name in names if name != last])
        if last in names:
            with on_disk(source / last) as file:
                replace(target / last, file.read_bytes(), None)
        return
    staged = target.with_name(f"{COPYING}{target.name}")
    try:
        staged.mkdir(parents=True)
        _copy(source, staged, names)
        for path in [staged, *staged.rglob("*")]:
            _flush(path)
        staged.rename(target)
    except OSError:
        shutil.rmtree(staged, ignore_errors=True)
        raise


def mirror(source: Path, target: Path, last: str) -> None:
    """Makes a folder in a bucket hold the files of one on this machine, one of them last, and no others."""
    names = list(files_below(source))
    _copy(source, target, [*(name for name in names if name != last), last])
    for name in files_below(target):
        if name not in names:
            (target / name).unlink()


def remove_folder(folder: Path, first: str | None = None) -> None:
    """Removes a folder with all files, so that a reader who needs the file `first` never finds a part of them."""
    if not is_bucket(folder):
        doomed = folder.with_name(f"{REMOVING}{folder.name}")
        folder.rename(doomed)
        shutil.rmtree(doomed)
        return
    if first is not None:
        (folder / first).unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError):
        _cloud(folder).fs.rm(_cloud(folder).path, recursive=True)


def _copy(source: Path, target: Path, names: Any) -> None:
    """Copies files of a folder, by name."""
    for name in names:
        one, other = source / name, target / name
        if not is_bucket(target):
            other.parent.mkdir(parents=True, exist_ok=True)
        if is_bucket(one) and is_bucket(other) and _cloud(one).fs is _cloud(other).fs:
            _cloud(one).fs.cp_file(_cloud(one).path, _cloud(other).path)  # nothing comes to this machine
        elif is_bucket(other):
            with on_disk(one) as file:
                _cloud(other).fs.put_file(str(file), _cloud(other).path)
        elif is_bucket(one):
            _cloud(one).fs.get_file(_cloud(one).path, str(other))
        else:
            shutil.copy2(one, other)


def _flush(path: Path) -> None:
    """Puts a file or folder on the disk. After a power cut, a name must not have less than all of it."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _cloud(place: Path) -> UPath:
    return cast("UPath", place)
