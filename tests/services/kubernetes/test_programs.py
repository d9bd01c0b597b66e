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


@pytest.mark.parametrize(
    ("version", "used"),
    [
        *(("go1.24.0", "machine"), ("go1.26.8", "machine"), ("go2.0", "machine")),
        *(("go1.19.8", "checkout"), ("go1.9", "checkout"), ("devel", "checkout")),
    ],
)
def test_a_go_of_the_machine_that_is_too_old_gives_way_to_that_of_the_checkout(tmp_path, monkeypatch, version, used):
    of = {"checkout": go(tmp_path / "own" / "bin", "go1.24.11"), "machine": go(tmp_path / "bin", version)}
    monkeypatch.setattr(programs, "OWN_GO", tmp_path / "own")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")

    assert programs.go_program() == str(of[used])


def test_the_release_is_that_of_go_mod():
    assert programs.kubernetes_version().startswith("v1.34.")
    assert "k8s.io/api => k8s.io/api v0.34." in (programs.MODULE / "go.mod").read_text()
