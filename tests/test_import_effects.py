"""Importing a module of ours changes nothing of the process, and depends on nothing of it."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.world import LOCAL, ROOT

pytestmark = pytest.mark.unit
PACKAGES = (
    *("components", "data", "errors", "flightdeck", "ledger", "models"),
    *("operations", "pipeline", "storage", "teaching"),
)
# Reads the working directory; defines, sets or parses a flag of absl; changes the environment.
EFFECTS = {"cwd", "getcwd", "absolute", "chdir", "FLAGS", "set_default", "putenv"}
CALLS = ("sys.path.", "os.environ.update", "os.environ.setdefault")


def run_at_import(node: ast.AST) -> Iterator[ast.AST]:
    """What runs when the module is imported: everything but the bodies of functions."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from run_at_import(child)


def effects(text: str) -> list[str]:
    """The effects of importing a module, each as it is written there."""
    written = []
    for node in run_at_import(ast.parse(text)):
        name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
        stored = isinstance(node, ast.Subscript | ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del)
        changes = stored and ast.unparse(node).startswith(("os.", "sys."))
        calls = isinstance(node, ast.Call) and ast.unparse(node.func).startswith(CALLS)
        if name in EFFECTS or name.startswith("DEFINE_") or changes or calls:
            written.append(ast.unparse(node))
    return written


@pytest.mark.parametrize(
    "text",
    [
        "from pathlib import Path\nHERE = Path.cwd() / 'config'",
        "flags.FLAGS.set_default('a', True)",
        "flags.DEFINE_string('a', '', '')",
        "sys.path.insert(0, 'here')",
        "os.environ['A'] = 'b'",
        "class A:\n    here = os.getcwd()",
    ],
)
def test_an_effect_is_seen(text: str):
    assert effects(text)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_has_an_effect_when_it_is_imported(package: str):
    with_effects = {
        str(file.relative_to(ROOT)): written
        for file in sorted((ROOT / package).rglob("*.py"))
        if (written := effects(file.read_text("utf-8")))
    }
    assert with_effects == {}


def test_settings_are_loaded_without_a_working_directory_and_change_nothing(tmp_path: Path):
    program = (
        "import os, sys\nfrom pathlib import Path\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        f"os.rmdir({str(tmp_path / 'gone')!r})\n"
        "before = list(sys.path), dict(os.environ)\n"
        "import flightdeck.__main__\nfrom flightdeck.settings import read_settings\n"
        f"read_settings(Path({str(LOCAL)!r}))\n"
        "assert (sys.path, dict(os.environ)) == before\n"
    )
    (tmp_path / "gone").mkdir()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path / "gone")

    assert done.returncode == 0, done.stderr
