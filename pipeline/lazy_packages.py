"""Packages of TFX that are imported part by part, because importing them whole takes seconds that nobody uses.

``tfx.components`` imports the clients of Kubernetes and Docker with the components that need them, and
``tensorflow_model_analysis`` imports TensorFlow and Beam where its messages alone are asked for.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.abc import Loader
from types import ModuleType
from typing import Any


def lazy(name: str) -> None:
    """Makes a package one whose modules can be imported without it; it is imported itself when it is used.

    Does nothing if it is imported already.
    """
    if name in sys.modules:
        return
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"There is no package {name}.", name=name)
    package, loader = importlib.util.module_from_spec(spec), spec.loader
    package.__dict__["__getattr__"] = lambda attribute: _imported(package, loader, attribute)
    sys.modules[name] = package
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, package)


def _imported(package: ModuleType, loader: Loader, attribute: str) -> Any:
    # What the import system itself asks of a package.
    if attribute.startswith("__"):
        raise AttributeError(attribute)
    if package.__dict__.pop("__getattr__", None) is not None:
        loader.exec_module(package)
    return getattr(package, attribute)
