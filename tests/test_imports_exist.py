"""Every import of ours, also in functions, labs and benchmarks that no test runs, names something that exists.

pyright reports a missing name by the same rule as the many that TFX exports lazily, so there it is only a warning.
"""

import ast
import functools
import symtable
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.repository import git
from tests.world import ROOT

pytestmark = pytest.mark.unit

_LISTED = git(ROOT, "ls-files", "--cached", "--others", "--exclude-standard", "*.py").splitlines()
FILES = [path for path in map(Path, _LISTED) if (ROOT / path).is_file()]
SOURCES = {".".join(path.with_suffix("").parts).removesuffix(".__init__"): ROOT / path for path in FILES}
# A folder is a module with __init__.py or without.
MODULES = {*SOURCES, *(".".join(folder.parts) for path in FILES for folder in path.parents)}


@functools.cache
def names(module: str) -> set[str]:
    """What the top level of a module binds."""
    if module not in SOURCES:
        return set()
    symbols = symtable.symtable(SOURCES[module].read_text("utf-8"), module, "exec").get_symbols()
    return {
        symbol.get_name() for symbol in symbols if symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace()
    }


def imports(program: str) -> Iterator[tuple[str, str | None]]:
    """Modules that a program imports, with the names that it imports from them."""
    for node in ast.walk(ast.parse(program)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)


def missing(program: str) -> Iterator[str]:
    """What a program imports from this repository that is not there."""
    for module, name in imports(program):
        imported = module if name is None else f"{module}.{name}"
        if module.partition(".")[0] not in MODULES:
            continue
        if module not in MODULES:
            yield module
        elif imported not in MODULES and name not in names(module):
            yield imported


def test_every_import_of_ours_exists():
    assert {str(path): gone for path in FILES if (gone := list(missing((ROOT / path).read_text("utf-8"))))} == {}


@pytest.mark.parametrize(
    ("program", "gone"),
    [
        ("import ledger.gone", ["ledger.gone"]),
        ("from ledger.gone import Recorder", ["ledger.gone"]),
        ("from ledger import gone, recorder", ["ledger.gone"]),
        ("def later():\n    from ledger.recorder import Recorder, Gone", ["ledger.recorder.Gone"]),
        ("import tests.world, ledger.recorder", []),
        ("import gone, json.gone\nfrom pathlib import Gone", []),
    ],
)
def test_an_import_of_nothing_is_noticed(program, gone):
    assert list(missing(program)) == gone
