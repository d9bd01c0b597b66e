"""A project that `flightdeck new` has made, as its own preparation reads its table."""

import json
import subprocess
import sys
from pathlib import Path

from data.contract import Contract
from data.schema_agreement import disagreements
from tests.world import ROOT

PERSON = {f"GIT_{role}_{fact}": "t@example.org" for role in ("AUTHOR", "COMMITTER") for fact in ("NAME", "EMAIL")}


def contract_of(project: Path) -> Contract:
    """The contract of a project, with which its schema agrees."""
    contract = Contract.load(project / "usecase" / "contract.yaml")
    assert disagreements(contract, project / "usecase" / "schema.pbtxt") == []
    return contract


def prepared(project: Path, fails: str = "") -> list[dict]:
    """All rows that the preparation of a project makes, in a process of its own; or none, if it should fail."""
    program = (
        "import json, sys; sys.path.append(sys.argv[1])\nfrom pathlib import Path\nfrom data import spans\n"
        "from usecase.prepare import prepare\ndone = prepare(Path(sys.argv[1]) / 'workspace' / 'spans')\n"
        "rows = [row for each in done.spans for row in spans.read(done.path, each.span).to_pylist()]\n"
        "print(json.dumps(rows, default=str))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(project)], capture_output=True, text=True, cwd=ROOT)
    assert bool(done.returncode) == bool(fails), done.stderr
    assert fails in done.stderr
    return [] if fails else json.loads(done.stdout)


def own_tests_pass(project: Path) -> None:
    """The tests of a project that need no run."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_usecase.py"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout


def code_is_clean(project: Path) -> None:
    """By the rules of a formatter and linter that are told nothing."""
    for command in (["check", "--select", "E,F,W,I,B,UP"], ["format", "--check"]):
        program = [sys.executable, "-m", "ruff", *command, "--no-cache", "."]
        done = subprocess.run(program, cwd=project, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
