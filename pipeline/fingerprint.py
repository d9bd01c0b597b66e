"""Fingerprints of code and files, so that TFX's cache notices a change that its keys do not cover.

TFX names a user function and an executor by its module path, and an imported file by its address. Neither changes when
the content does, and a stale result would be reused. The definition therefore passes these fingerprints along as
parameters.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
from collections.abc import Iterable
from pathlib import Path

# Flightdeck's own ML code, which a project's own may call.
_MODELS = "models"


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, 16 hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def code_digest(function: str) -> str:
    """Fingerprint of the module of a function and of all its `sources`: 16 hexadecimal digits.

    Imports are read from the source, also those inside functions, so nothing is executed. Packages installed from
    elsewhere are pinned by the lock files and not part of it.
    """
    return modules_digest([function.rpartition(".")[0]])


def modules_digest(modules: Iterable[str]) -> str:
    """As `code_digest`, of several modules."""
    digest = hashlib.sha256()
    sources = {name: source for module in modules for name, source in module_sources(module).items()}
    for name, source in sorted(sources.items()):
        digest.update(f"{name}\0".encode() + hashlib.sha256(source).digest())
    return digest.hexdigest()[:16]


def module_sources(module: str) -> dict[str, bytes]:
    """The source of a module and of everything it imports, directly or not, from its own top-level package or `models`.

    Raises a ModuleNotFoundError if there is no such module.
    """
    package = module.partition(".")[0]
    followed = {package, _MODELS}
    modules: dict[str, bytes] = {}
    pending = [module, package]
    while pending:
        name = pending.pop()
        origin = _origin(name)
        if name in modules or origin is None:
            continue
        modules[name] = origin.read_bytes()
        pending.extend(imported for imported in _imports(modules[name], name) if imported.partition(".")[0] in followed)
    if module not in modules:
        raise ModuleNotFoundError(f"There is no module {module}.")
    return modules


def _origin(module: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:  # a name imported from a module, not a module
        return None
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


@functools.cache  # components share modules
def _imports(source: bytes, module: str) -> set[str]:
    """Names that may be modules: ``from a import b`` gives both ``a`` and ``a.b``."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")[: -node.level]
                base = ".".join([*parents, base] if base else parents)
            names.add(base)
            names.update(f"{base}.{alias.name}" for alias in node.names)
    return names
