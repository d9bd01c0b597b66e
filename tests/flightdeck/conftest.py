"""A server that speaks the API of Kubeflow Pipelines and the command that asks it; what a command imports."""

import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.operations.delivery.kfp_server import KfpServer
from tests.world import ROOT


def imports_none_of(modules: set[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a command that succeeds in a process of its own, which must not import these modules."""
    program = (
        "import sys\nfrom flightdeck.__main__ import app\n"
        f"try:\n    app({list(arguments)!r})\nexcept SystemExit as end:\n    assert not end.code\n"
        f"assert not {modules!r} & set(sys.modules), {modules!r} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done


def refused(answer: tuple[int, str, str], sentence: str) -> None:
    """A command printed nothing but one sentence about what is wrong, and its exit code is 2."""
    code, out, err = answer
    assert (code, out) == (2, ""), err
    assert sentence in err
    assert len(err.strip().splitlines()) == 1, err


@pytest.fixture
def kubeflow(server: KfpServer, flightdeck) -> Callable[..., tuple[int, str, str]]:
    """Runs `flightdeck kubeflow` against the server: exit code, standard output, standard error."""

    def run(*arguments: str, endpoint: str = server.endpoint) -> tuple[int, str, str]:
        return flightdeck("kubeflow", *arguments, "--set", f"kubeflow.endpoint={endpoint}")

    return run


@pytest.fixture
def done(kubeflow) -> Callable[..., str]:
    """Runs a command of `flightdeck kubeflow` that succeeds: what it prints."""

    def run(*arguments: str) -> str:
        code, out, err = kubeflow(*arguments)
        assert (code, err) == (0, "")
        return out

    return run
