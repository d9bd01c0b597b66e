"""A small world of real spans, shared by every test that runs the pipeline."""

from pathlib import Path

import pytest

from tests.world import World


@pytest.fixture(scope="session")
def world_in() -> type[World]:
    """Makes a world: ``world_in(workspace, spans)``."""
    return World


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All twelve real spans."""
    from data.prepare import prepare

    folder = tmp_path_factory.mktemp("prepared")
    prepare(folder)
    return folder


@pytest.fixture(scope="session")
def small_spans(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first three months, 1,500 flights each."""
    from data.prepare import slice_spans

    folder = tmp_path_factory.mktemp("small")
    slice_spans(prepared, folder, rows_per_span=1500, spans=(1, 2, 3))
    return folder
