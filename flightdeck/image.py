"""``flightdeck image``: build and push the container image, tagged with the commit that it was made from."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from errors import FlightdeckError
from flightdeck.console import answer
from flightdeck.options import App, Json, default_config, load_settings

ROOT = Path(__file__).resolve().parent.parent

app = App(help="Build and push the container image.", no_args_is_help=True)

Target = Annotated[Literal["cpu", "gpu"], typer.Option(help="`gpu` adds the CUDA libraries, and `-gpu` to the tag.")]


@app.command()
def build(
    target: Target = "cpu",
    repository: Annotated[
        str, typer.Option(help="Name of the image, without its tag, such as HOST/FOLDER/flightdeck.")
    ] = "flightdeck",
    base: Annotated[
        str | None,
        typer.Option(help="Image with Python 3.11 to start from.", show_default="that of the Dockerfile"),
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
    """Build the image of this checkout. What has not changed is taken from the engine's cache.

    A package index named by PIP_INDEX_URL is used and not kept in the image. DOCKER_HOST selects the engine.
    """
    from operations.delivery import images

    _refuse_project()
    revision = images.checkout_revision(ROOT)
    image = images.reference(repository, revision, target)
    environment = images.builder_environment(os.environ)
    images.require_engine(os.environ.get("DOCKER_HOST"))
    index_variable = "PIP_INDEX_URL" if os.environ.get("PIP_INDEX_URL") else None
    arguments = images.build_arguments(image, target, revision, ROOT, base, platform, network, ca_file, index_variable)
    started = time.monotonic()
    _stream(["docker", *arguments], environment)
    built = images.inspect(image)
    if built is None:
        raise FlightdeckError(
            f"{image} was built, but the engine does not hold it, because the builder in use keeps images to itself; "
            "choose one with the docker driver, for example by BUILDX_BUILDER=default."
        )
    seconds = round(time.monotonic() - started, 1)
    facts = {"id": built["Id"], "bytes": built["Size"], "seconds": seconds}
    document = {"image": image, "target": target, "commit": revision, **facts}
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
    """Push the image that was built from this checkout to its repository."""
    from operations.delivery import images

    _refuse_project()
    revision = images.checkout_revision(ROOT)
    image = images.reference(repository, revision, target)
    if images.DIRTY in revision and not allow_dirty:
        raise FlightdeckError(
            "The checkout has changes that no commit holds, so nobody could find out what the image was made from; "
            "commit them and build again, or push with --allow-dirty."
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


def _refuse_project() -> None:
    """Refuses a separate project, whose use case no image holds."""
    if default_config().resolve().parent.parent == ROOT:
        return
    project = load_settings(default_config()).project
    if project != ROOT:
        raise FlightdeckError(
            f"There is no image for the project {project}: an image holds Flightdeck's checkout alone, and not its use "
            f"case. For the image of the checkout, run the command in {ROOT}."
        )


def _stream(command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Runs a command whose progress goes to standard error, so that standard output holds the result alone."""
    if subprocess.run(command, env=environment, stdout=sys.stderr).returncode:
        typer.echo(f"`{' '.join(command[:2])}` failed; its last lines above say why.", err=True)
        raise typer.Exit(1)
