"""The manifests of a checkout, with settings of their own."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.kustomize import build


@dataclasses.dataclass(frozen=True)
class Project:
    """A copy of deploy/kubernetes.

    Attributes:
        folder: the copy.
    """

    folder: Path

    def overlay(self, name: str) -> Path:
        """The folder of an overlay."""
        return self.folder / "overlays" / name

    def set_image(self, image: str) -> None:
        """Names the image of the loop, as a person does."""
        file = self.folder / "settings" / "local" / "settings.yaml"
        settings = yaml.safe_load(file.read_text())
        settings["data"]["image"] = image
        file.write_text(yaml.safe_dump(settings))

    @property
    def model(self) -> str:
        """The name of the served model."""
        return yaml.safe_load((self.folder / "settings" / "local" / "settings.yaml").read_text())["data"]["modelName"]

    def find(self, kind: str, name: str, overlay: str = "local") -> dict[str, Any]:
        """A manifest of an overlay."""
        return next(
            each for each in _built(self.overlay(overlay)) if (each["kind"], each["metadata"]["name"]) == (kind, name)
        )

    def all(self, kind: str, overlay: str = "local") -> list[dict[str, Any]]:
        """The manifests of a kind in an overlay."""
        return [each for each in _built(self.overlay(overlay)) if each["kind"] == kind]

    def count(self, overlay: str) -> int:
        """How many manifests an overlay has."""
        return len(_built(self.overlay(overlay)))

    def image_of(self, kind: str, name: str) -> str:
        """The image of a workload's first container."""
        return self.find(kind, name)["spec"]["template"]["spec"]["containers"][0]["image"]


@functools.cache
def _built(overlay: Path) -> list[dict[str, Any]]:
    return build(overlay)
