"""Which Go builds Kubernetes, and that go.mod decides which release."""

from pathlib import Path

import pytest

from tests.services.kubernetes import programs

pytestmark = pytest.mark.unit


def go(folder: Path, version: str) -> Path:
    """A program that says of itself what Go does."""
    program = folder / "go"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(f"#!/bin/sh\necho {version}\n")
    program.chmod(0o755)
    return program


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with a Go of some version, and a newer one in the checkout's own folder."""
    own = go(tmp_path / "own" / "bin", "go1.24.11")
    monkeypatch.setattr(programs, "OWN_GO", tmp_path / "own")

    def with_go(version: str) -> tuple[str, str]:
        monkeypatch.setenv("PATH", f"{go(tmp_path / 'bin', version).parent}:/usr/bin:/bin")
        return str(tmp_path / "bin" / "go"), str(own)

    return with_go


@pytest.mark.parametrize("version", ["go1.24.0", "go1.26.8", "go2.0"])
def test_a_go_that_is_new_enough_is_used(machine, version):
    of_the_machine, _ = machine(version)

    assert programs.go_program() == of_the_machine


@pytest.mark.parametrize("version", ["go1.19.8", "go1.9", "devel"])
def test_an_older_one_gives_way_to_that_of_the_checkout(machine, version):
    _, own = machine(version)

    assert programs.go_program() == own


def test_the_release_is_that_of_go_mod():
    assert programs.kubernetes_version().startswith("v1.34.")
    assert "k8s.io/api => k8s.io/api v0.34." in (programs.MODULE / "go.mod").read_text()
