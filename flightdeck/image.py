"""``flightdeck image``: build and push the container image, tagged with the commit that it was made from."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from errors import FlightdeckError
from flightdeck.console import answer
from flightdeck.options import App, Json, default_config, load_settings

if TYPE_CHECKING:
    from operations.delivery.settings import Settings

ROOT = Path(__file__).resolve().parent.parent

app = App(help="Build and push the container image.", no_args_is_help=True)

Target = Annotated[
    Literal["cpu", "gpu", "serve"],
    typer.Option(help="`gpu` adds the CUDA libraries; `serve` is without TFX, for the service. The tag ends with it."),
]


@app.command()
def build(
    target: Target = "cpu",
    repository: Annotated[
        str | None,
        typer.Option(
            help="Name of the image, without its tag, such as HOST/FOLDER/flightdeck.",
            show_default="flightdeck; in a project the use case's name",
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            help="Image to start from: one with Python 3.11; in a project, one of Flightdeck.",
            show_default="that of the Dockerfile",
        ),
    ] = None,
    platform: Annotated[
        str, typer.Option(help="Platform to build for; the lock files hold packages for this one.")
    ] = "linux/amd64",
    network: Annotated[
        str | None, typer.Option(help="Network of the build steps; `host` for an engine without a bridge.")
    ] = None,
    ca_file: Annotated[
        Path | None,
        typer.Option(
            envvar=["PIP_CERT", "SSL_CERT_FILE"],
            help="Certificates to trust while packages are installed; not kept in the image.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Build the image of this checkout, or, in a project, that of the project: a layer on Flightdeck's.

    Flightdeck's is built first where the engine does not hold it and none is named. What has not changed is taken from
    the engine's cache. A package index named by PIP_INDEX_URL is used and not kept in the image. DOCKER_HOST selects
    the engine.
    """
    from operations.delivery import images

    settings = _project_settings()
    root, name = (ROOT, images.FLIGHTDECK) if settings is None else (settings.project, settings.use_case.name)
    revision, repository = images.checkout_revision(root), repository or name
    image = images.reference(repository, revision, target)
    flightdeck = None if settings is None else _flightdeck_image(settings, target, base)
    environment = images.builder_environment(os.environ)
    images.require_engine(os.environ.get("DOCKER_HOST"))
    index_variable = "PIP_INDEX_URL" if os.environ.get("PIP_INDEX_URL") else None

    def of_checkout(image: str, base: str | None) -> list[str]:
        revision = images.checkout_revision(ROOT)
        return images.build_arguments(image, target, revision, ROOT, base, platform, network, ca_file, index_variable)

    started = time.monotonic()
    below = None
    if settings is None or flightdeck is None:
        arguments = of_checkout(image, base)
    else:
        if base is None and images.inspect(flightdeck) is None:
            _stream(["docker", *of_checkout(flightdeck, None)], environment)
        below = _flightdeck_in(flightdeck, settings)
        image = images.reference(repository, images.layered(revision, below), target)
        arguments = images.layer_arguments(image, revision, root, flightdeck, platform, network)
    _stream(["docker", *arguments], environment)
    built = images.inspect(image)
    if built is None:
        raise FlightdeckError(
            f"{image} was built, but the engine does not hold it, because the builder in use keeps images to itself; "
            "choose one with the docker driver, for example by BUILDX_BUILDER=default."
        )
    seconds = round(time.monotonic() - started, 1)
    facts = {"id": built["Id"], "bytes": built["Size"], "seconds": seconds}
    document = {"image": image, "target": target, "commit": revision, "flightdeck": below, **facts}
    answer(document, f"Built {image} in {seconds:.0f} s; it takes {built['Size'] / 1e9:.2f} GB.", as_json)


@app.command()
def push(
    repository: Annotated[str, typer.Option(help="Where to, such as HOST/FOLDER/flightdeck.")],
    target: Target = "cpu",
    allow_dirty: Annotated[
        bool, typer.Option("--allow-dirty", help="Push although the tree has changes that no commit holds.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Push the image that was built from this checkout, or project, to its repository."""
    from operations.delivery import images

    settings = _project_settings()
    revision = images.checkout_revision(ROOT if settings is None else settings.project)
    if settings is not None:
        _flightdeck_image(settings, target, None)
        revision = images.layered(revision, images.checkout_revision(ROOT))
    image = images.reference(repository, revision, target)
    if images.DIRTY in revision and not allow_dirty:
        raise FlightdeckError(
            f"The {'checkout' if settings is None else 'project, or Flightdeck below it,'} has changes that no commit "
            "holds, so nobody could find out what the image was made from; commit them and build again, or push with "
            "--allow-dirty."
        )
    images.require_engine(os.environ.get("DOCKER_HOST"))
    if images.inspect(image) is None:
        raise FlightdeckError(
            f"There is no image {image}; build it first with: "
            f"flightdeck image build --repository {repository} --target {target}"
        )
    _stream(["docker", "push", image], os.environ)
    digests = (images.inspect(image) or {}).get("RepoDigests") or []
    digest = next((known for known in digests if known.startswith(f"{repository}@")), None)
    answer({"image": image, "digest": digest}, f"Pushed {image}\n       {digest}", as_json)


def _project_settings() -> Settings | None:
    """The settings for Kubeflow of the project that one stands in; None for Flightdeck's checkout."""
    from flightdeck.kubeflow import DEFAULT_CONFIG

    if default_config().resolve().parent.parent == ROOT:
        return None
    config = default_config(DEFAULT_CONFIG)
    settings = load_settings(config if config.is_file() else default_config())
    return None if settings.project == ROOT else settings


def _flightdeck_image(settings: Settings, target: Target, named: str | None) -> str:
    """The image that a project's is built on: the one that is named, or that of this Flightdeck, if it is for this."""
    from operations.delivery import images
    from operations.delivery.own_project import require_its_flightdeck

    if not (settings.project / images.PROJECT_DOCKERFILE).is_file():
        raise FlightdeckError(
            f"There is no Dockerfile in {settings.project}; a project of an earlier Flightdeck gets one by: "
            "flightdeck upgrade"
        )
    if named is not None:
        return named
    require_its_flightdeck(settings)
    return images.reference(images.FLIGHTDECK, images.checkout_revision(ROOT), target)


def _flightdeck_in(base: str, settings: Settings) -> str:
    """The revision of Flightdeck in an image, which must be in the engine, and the one that the project is for."""
    from operations.delivery import images

    inspected = images.inspect(base)
    if inspected is None:
        raise FlightdeckError(
            f"The engine does not hold the image {base}, on which that of the project would be built; fetch it with: "
            f"docker pull {base}"
        )
    held, wanted = images.flightdeck_of(inspected), settings.delivery.flightdeck
    if held is None or not held.startswith(wanted or held):
        raise FlightdeckError(
            f"The image {base} holds {f'Flightdeck {held[:12]}' if held else 'no Flightdeck that says its commit'}, "
            f"and {settings.project} is for {wanted[:12] if wanted else 'one'} (delivery.flightdeck)."
        )
    return held


def _stream(command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Runs a command whose progress goes to standard error, so that standard output holds the result alone."""
    if subprocess.run(command, env=environment, stdout=sys.stderr).returncode:
        typer.echo(f"`{' '.join(command[:2])}` failed; its last lines above say why.", err=True)
        raise typer.Exit(1)
