"""A clean kernel that runs one cell after the other, and what a student is told of how an exercise's cells ended."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from teaching.labs.catalogue import Lab

if TYPE_CHECKING:
    import nbclient
    from nbformat import NotebookNode

CELL_SECONDS = 300
UNTOUCHED = "not solved yet: replace the line `raise NotImplementedError()` by your answer."
DELETED = "its cell is no longer in the notebook; start the lab again in another folder and copy your answers over."


@dataclass(frozen=True)
class Stop:
    """How a cell ended that did not end well."""

    error: str
    message: str

    def __str__(self) -> str:
        """The error, and the first line of what it said."""
        first = self.message.strip().splitlines()
        return f"{self.error}: {first[0]}" if first else self.error


@dataclass(frozen=True)
class Verdict:
    """What is said about one exercise.

    Attributes:
        exercise: Its name.
        passed: Whether all of its tests passed, the hidden ones included.
        reason: Why not, in a sentence; empty when it passed.
    """

    exercise: str
    passed: bool
    reason: str = ""


class Kernel:
    """A running kernel; make one with `kernel`.

    Attributes:
        dead: Why no further cell can run; None as long as one can.
    """

    def __init__(self, client: nbclient.NotebookClient) -> None:
        """Runs cells in the kernel of a client that has started it."""
        self._client = client
        self.dead: Stop | None = None

    def run(self, cell: NotebookNode) -> Stop | None:
        """Runs a cell; its outputs are left in it.

        Returns:
            How it stopped, or None if it ran to its end. Where a cell did not end in time, or the kernel has died, say
            for lack of memory, all cells that follow stop for that reason.
        """
        from nbclient.exceptions import CellTimeoutError, DeadKernelError

        if cell.cell_type != "code":
            return None
        if self.dead is not None:
            return self.dead
        self._client.nb.cells = [cell]
        try:
            self._client.execute_cell(cell, 0)
        except CellTimeoutError:
            # It still runs, so what follows would wait for it. Interrupting it would be no help: nbclient then loses
            # what later cells say, and a test that fails would seem to pass.
            self.dead = Stop("TimeoutError", f"it did not end within {self._client.timeout} s")
            return self.dead
        except DeadKernelError:
            self.dead = Stop("DeadKernelError", "the kernel died, perhaps for lack of memory")
            return self.dead
        for output in cell.outputs:
            if output.output_type == "error":
                return Stop(output.ename, output.evalue)
        return None


@contextlib.contextmanager
def kernel(lab: Lab, cell_seconds: int = CELL_SECONDS) -> Iterator[Kernel]:
    """Starts a kernel in an empty folder that holds the lab's files alone; both are gone at the end."""
    import shutil
    import subprocess

    import nbclient
    import nbformat
    from traitlets.config import Config

    with (
        tempfile.TemporaryDirectory(prefix=f"lab-{lab.name}-") as folder,
        tempfile.TemporaryDirectory(prefix="kernel-") as connection,
    ):
        config = Config()
        # Sockets of this user alone, instead of ports that anyone on this machine may open.
        config.KernelManager.transport = "ipc"
        config.KernelManager.connection_file = str(Path(connection) / "kernel.json")
        if lab.files.is_dir():
            shutil.copytree(lab.files, Path(folder), dirs_exist_ok=True)
        client = nbclient.NotebookClient(
            nbformat.v4.new_notebook(),
            timeout=cell_seconds,
            kernel_name="python3",
            allow_errors=True,
            config=config,
            resources={"metadata": {"path": folder}},
        )
        # What a cell prints comes over the kernel's sockets; its own stderr has only its troubles with being ended.
        with client.setup_kernel(stderr=subprocess.DEVNULL):
            yield Kernel(client)


def judge(exercise: str, own: Stop | None, tests: Stop | None, before: Stop | None) -> Verdict:
    """Judges one exercise by how its cell, its tests and the first of the lab's cells before it stopped, if they did.

    What follows a cell that stopped lacks what that was to make, which is no mistake of this exercise.
    """
    if own is None and tests is None:
        return Verdict(exercise, passed=True)
    first = own or tests
    assert first is not None
    if first.error == "NotImplementedError":
        return Verdict(exercise, passed=False, reason=UNTOUCHED)
    if first.error == "AssertionError" and own is None:
        return Verdict(exercise, passed=False, reason=first.message.strip() or "a test does not hold.")
    if before is not None and first.error in ("NameError", before.error):
        reason = f"could not be checked, because a cell before it stopped with {before}. Get that one right first."
        return Verdict(exercise, passed=False, reason=reason)
    whose = "your cell" if own is not None else "a test of your answer"
    return Verdict(exercise, passed=False, reason=f"{whose} stopped with {first}")
