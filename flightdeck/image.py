"""``flightdeck image``: build and push the container image, tagged with the commit that it was made from."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from errors import FlightdeckError
from flightdeck.options import Json, default_config, load_settings

ROOT = Path(__file__).resolve().parent.parent
DOCKERFILE = Path("deploy", "docker", "Dockerfile")
DIRTY = "-dirty-"

# Host and port, then path components, as in the distribution specification; the tag is ours.
REPOSITORY = re.compile(
    r"(?:[A-Za-z0-9.-]+(?::\d+)?/)?[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
)

app = typer.Typer(help="Build and push the container image.", no_args_is_help=True)

TargetName = Literal["cpu", "gpu"]
Target = Annotated[TargetName, typer.Option(help="`gpu` adds the CUDA libraries, and `-gpu` to the tag.")]


class ImageError(FlightdeckError):
    """An image cannot be built or pushed; the text says why and what to do."""


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
    import os
    import time

    _refuse_project()
    revision = checkout_revision(ROOT)
    image = reference(repository, revision, target)
    environment = _builder_environment(os.environ)
    _require_engine(os.environ.get("DOCKER_HOST"))
    arguments = build_arguments(
        image=image,
        target=target,
        commit=revision,
        root=ROOT,
        base=base,
        platform=platform,
        network=network,
        ca_file=ca_file,
        index_variable="PIP_INDEX_URL" if os.environ.get("PIP_INDEX_URL") else None,
    )
    started = time.monotonic()
    _stream(["docker", *arguments], environment)
    built = _inspect(image)
    if built is None:
        raise ImageError(
            f"{image} was built, but the engine does not hold it, because the builder in use keeps images to itself; "
            "choose one with the docker driver, for example by BUILDX_BUILDER=default."
        )
    report = {
        "image": image,
        "target": target,
        "commit": revision,
        "id": built["Id"],
        "bytes": built["Size"],
        "seconds": round(time.monotonic() - started, 1),
    }
    typer.echo(
        json.dumps(report)
        if as_json
        else f"Built {image} in {report['seconds']:.0f} s; it takes {built['Size'] / 1e9:.2f} GB."
    )


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
    import os

    _refuse_project()
    revision = checkout_revision(ROOT)
    image = reference(repository, revision, target)
    if DIRTY in revision and not allow_dirty:
        raise ImageError(
            "The checkout has changes that no commit holds, so nobody could find out what the image was made from; "
            "commit them and build again, or push with --allow-dirty."
        )
    _require_engine(os.environ.get("DOCKER_HOST"))
    if _inspect(image) is None:
        raise ImageError(
            f"There is no image {image}; build it first with: "
            f"flightdeck image build --repository {repository} --target {target}"
        )
    _stream(["docker", "push", image], os.environ)
    digests = (_inspect(image) or {}).get("RepoDigests") or []
    digest = next((each for each in digests if each.startswith(f"{repository}@")), None)
    typer.echo(json.dumps({"image": image, "digest": digest}) if as_json else f"Pushed {image}\n       {digest}")


def _refuse_project() -> None:
    """Refuses where the settings are those of a project of one's own, whose use case no image holds.

    Raises:
        ImageError: they are.
    """
    if default_config().resolve().parent.parent == ROOT:
        return
    project = load_settings(default_config(), None).project
    if project != ROOT:
        raise ImageError(
            f"There is no image for the project {project}: an image holds Flightdeck's checkout alone, and not its use "
            f"case. For the image of the checkout, run the command in {ROOT}."
        )


def checkout_revision(root: Path) -> str:
    """What a checkout holds, in one word.

    Returns:
        The commit, 40 hexadecimal digits; followed by ``-dirty-`` and 8 digits of a hash of every difference from it,
        untracked files included (ignored ones are not), when there is any.

    Raises:
        ImageError: it is not a git checkout, or has no commit.
    """
    commit = _git(root, "rev-parse", "--verify", "HEAD").decode().strip()
    changes = _git(root, "diff", "--binary", "--no-ext-diff", "HEAD")
    untracked = _git(root, "ls-files", "--others", "--exclude-standard", "-z").decode(errors="surrogateescape")
    names = sorted(filter(None, untracked.split("\0")))
    return f"{commit}{DIRTY}{_digest(root, changes, names)}" if changes or names else commit


def reference(repository: str, revision: str, target: TargetName) -> str:
    """The name of an image with its tag, which is 12 digits of the commit and says whether the checkout was dirty.

    Args:
        repository: the name without tag.
        revision: from `checkout_revision`.
        target: ``gpu`` is added to the tag.

    Raises:
        ImageError: the repository is not a name that an engine accepts.
    """
    if not REPOSITORY.fullmatch(repository):
        raise ImageError(
            f"`{repository}` is not the name of a repository; it is of the form HOST/FOLDER/NAME in lower case, "
            "without a tag."
        )
    commit, dirty, difference = revision.partition(DIRTY)
    return f"{repository}:{commit[:12]}{dirty}{difference}{'-gpu' if target == 'gpu' else ''}"


def build_arguments(
    image: str,
    target: TargetName,
    commit: str,
    root: Path,
    base: str | None = None,
    platform: str = "linux/amd64",
    network: str | None = None,
    ca_file: Path | None = None,
    index_variable: str | None = None,
) -> list[str]:
    """What to give the ``docker`` command for a build.

    Args:
        image: name and tag of the result.
        target: stage of the Dockerfile.
        commit: recorded in the image's labels and environment.
        root: the checkout, which is the build's context.
        base: image to start from, instead of the Dockerfile's own.
        platform: of the result.
        network: of the build steps.
        ca_file: certificates, passed as a secret.
        index_variable: environment variable with the address of a package index, passed as a secret because it may
            hold a password.
    """
    arguments = [
        "build",
        "--file",
        str(root / DOCKERFILE),
        "--target",
        target,
        "--platform",
        platform,
        "--tag",
        image,
    ]
    arguments += ["--build-arg", f"COMMIT={commit}"]
    if base is not None:
        arguments += ["--build-arg", f"BASE={base}"]
    if network is not None:
        arguments += ["--network", network]
    if ca_file is not None:
        arguments += ["--secret", f"id=ca,src={ca_file.resolve()}"]
    if index_variable is not None:
        arguments += ["--secret", f"id=index,env={index_variable}"]
    return [*arguments, str(root)]


def _digest(root: Path, changes: bytes, names: Sequence[str]) -> str:
    import hashlib

    digest = hashlib.sha256(changes)
    for name in names:
        content = hashlib.sha256(_content(root / name)).digest()
        digest.update(name.encode(errors="surrogateescape") + b"\0" + content)
    return digest.hexdigest()[:8]


def _content(path: Path) -> bytes:
    """Of a file, or where a link points to; nothing of a file that has just been removed, or of another repository."""
    if path.is_symlink():
        return str(path.readlink()).encode()
    return path.read_bytes() if path.is_file() else b""


def _git(root: Path, *arguments: str) -> bytes:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True)
    except FileNotFoundError:
        raise ImageError("There is no git command, and the commit is the image's tag; install git.") from None
    if done.returncode:
        raise ImageError(
            f"{root} is not a git checkout with a commit, which an image is tagged with: {_last_line(done.stderr)}"
        )
    return done.stdout


def _builder_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for a build with BuildKit, which the Dockerfile's secrets and caches need.

    Raises:
        ImageError: there is no docker client, or it cannot use BuildKit.
    """
    version = _docker("--version").stdout.decode(errors="replace")
    # Since 23 the client needs a plugin for it; before, it was built in.
    major = re.search(r"version (\d+)\.", version)
    if major and int(major[1]) >= 23 and _docker("buildx", "version").returncode:
        raise ImageError(
            f"The docker client ({version.strip()}) lacks its buildx plugin, which the Dockerfile needs; "
            "install docker-buildx, or docker-buildx-plugin."
        )
    return {**environment, "DOCKER_BUILDKIT": "1"}


def _require_engine(host: str | None) -> None:
    done = _docker("version", "--format", "{{.Server.Version}}")
    if done.returncode:
        where = f"at DOCKER_HOST={host}" if host else "at its default address"
        raise ImageError(
            f"No Docker engine answers {where}; start one, or set DOCKER_HOST. Docker says: {_last_line(done.stderr)}"
        )


def _inspect(image: str) -> dict[str, Any] | None:
    """What the engine knows of an image; None when it has no such image."""
    done = _docker("image", "inspect", image)
    return None if done.returncode else json.loads(done.stdout)[0]


def _docker(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(["docker", *arguments], capture_output=True)
    except FileNotFoundError:
        raise ImageError(
            "There is no docker command; install Docker, or its client and set DOCKER_HOST to an engine."
        ) from None


def _stream(command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Runs a command whose progress goes to standard error, so that standard output holds the result alone."""
    if subprocess.run(command, env=environment, stdout=sys.stderr).returncode:
        typer.echo(f"`{' '.join(command[:2])}` failed; its last lines above say why.", err=True)
        raise typer.Exit(1)


def _last_line(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "nothing"
