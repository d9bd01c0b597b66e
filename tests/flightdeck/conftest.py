"""The command line, within this process."""

import sys
from collections.abc import Callable

import pytest


@pytest.fixture
def flightdeck(monkeypatch, capsys) -> Callable[..., tuple[int, str, str]]:
    """Runs `flightdeck` with some arguments: exit code, standard output, standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        from flightdeck.__main__ import main

        monkeypatch.setattr(sys, "argv", ["flightdeck", *arguments])
        code: object = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        assert isinstance(code, int)
        return code, *capsys.readouterr()

    return run
