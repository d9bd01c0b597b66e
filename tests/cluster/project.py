"""The manifests of a checkout, with settings of their own."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import yaml

from flightdeck.settings import read_settings
from tests.deploy.kustomize import ROOT, build


@dataclasses.dataclass(frozen=True)
class Project:
    """A copy of deploy/kubernetes in a folder."""

    folder: Path

    def overlay(self, name: str) -> Path:
        return self.folder / "overlays" / name

    @property
    def _settings(self) -> Path:
        return self.folder / "settings" / "local" / "settings.yaml"

    def set_images(self, image: str, server_image: str) -> None:
        """Names the images of the loop and of the service, as a person does."""
        settings = yaml.safe_load(self._settings.read_text())
        settings["data"] |= {"image": image, "serverImage": server_image}
        self._settings.write_text(yaml.safe_dump(settings))

    def set_settings(self, *settings: str) -> None:
        """Gives the loop and the service settings such as ``canary.mode=split``.

        A person has them in the file that the images hold.
        """
        file = self.overlay("local") / "kustomization.yaml"
        overlay = yaml.safe_load(file.read_text())
        for kind, name, container in (
            ("CronJob", "flightdeck-watch", "/spec/jobTemplate/spec/template/spec/containers/0/args/-"),
            ("Deployment", "model-server", "/spec/template/spec/containers/0/args/-"),
        ):
            words = [word for setting in settings for word in ("--set", setting)]
            patch = [{"op": "add", "path": container, "value": word} for word in words]
            overlay["patches"].append({"target": {"kind": kind, "name": name}, "patch": yaml.safe_dump(patch)})
        file.write_text(yaml.safe_dump(overlay))

    @property
    def model(self) -> str:
        """The name of the served model."""
        return read_settings(ROOT / "config" / "kubeflow.yaml", []).use_case.name

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
