"""A clean kernel that runs one cell after the other and says how each of them ended."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from teaching.labs.catalogue import Lab
from teaching.labs.judgement import Stop

if TYPE_CHECKING:
    import nbclient
    from nbformat import NotebookNode

CELL_SECONDS = 300


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
