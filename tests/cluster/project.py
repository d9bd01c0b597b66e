"""The manifests of a checkout, with settings of their own."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.kustomize import build


@dataclasses.dataclass(frozen=True)
class Project:
    """A copy of deploy/kubernetes in a folder."""

    folder: Path

    def overlay(self, name: str) -> Path:
        return self.folder / "overlays" / name

    @property
    def _settings(self) -> Path:
        return self.folder / "settings" / "local" / "settings.yaml"

    def set_image(self, image: str) -> None:
        """Names the image of the loop, as a person does."""
        settings = yaml.safe_load(self._settings.read_text())
        settings["data"]["image"] = image
        self._settings.write_text(yaml.safe_dump(settings))

    @property
    def model(self) -> str:
        """The name of the served model."""
        return yaml.safe_load(self._settings.read_text())["data"]["modelName"]

    def manifests(self, overlay: str = "local") -> list[dict[str, Any]]:
        return _built(self.overlay(overlay))

    def all(self, kind: str, overlay: str = "local") -> list[dict[str, Any]]:
        """The manifests of a kind."""
        return [manifest for manifest in self.manifests(overlay) if manifest["kind"] == kind]

    def names(self, kind: str) -> list[tuple[str, str]]:
        """Namespace and name of every manifest of a kind."""
        return [(each["metadata"]["namespace"], each["metadata"]["name"]) for each in self.all(kind)]

    def find(self, kind: str, name: str, overlay: str = "local") -> dict[str, Any]:
        """The manifest of a kind and name."""
        return next(manifest for manifest in self.all(kind, overlay) if manifest["metadata"]["name"] == name)


@functools.cache
def _built(overlay: Path) -> list[dict[str, Any]]:
    return build(overlay)
