"""The container images, Flightdeck's and those of projects on top of it: their tags, and what is asked of docker."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from errors import FlightdeckError
from pipeline import stamp

DOCKERFILE = Path("deploy", "docker", "Dockerfile")
PROJECT_DOCKERFILE = Path("Dockerfile")
FLIGHTDECK = "flightdeck"
DIRTY = "-dirty-"

# Host and port, then path components, as in the distribution specification; the tag is ours.
REPOSITORY = re.compile(
    r"(?:[A-Za-z0-9.-]+(?::\d+)?/)?[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
)

Target = Literal["cpu", "gpu", "serve"]
# What the tag of a target ends with.
ENDINGS: dict[Target, str] = {"cpu": "", "gpu": "-gpu", "serve": "-serve"}


def checkout_revision(root: Path) -> str:
    """What a checkout holds, in one word.

    Returns:
        The commit, 40 hexadecimal digits; followed by ``-dirty-`` and 8 digits of a hash of every difference from it,
        untracked files included (ignored ones are not), when there is any.

    Raises:
        FlightdeckError: it is not a git checkout, or has no commit.
    """
    if shutil.which("git") is None:
        raise FlightdeckError("There is no git command, and the commit is the image's tag; install git.")
    code = stamp.code(root, {})
    if code.commit is None or code.dirty is None:
        raise FlightdeckError(f"{root} is not a git checkout with a commit, which an image is tagged with.")
    if code.diff is None:
        return code.commit
    return f"{code.commit}{DIRTY}{hashlib.sha256(code.diff.encode(errors='replace')).hexdigest()[:8]}"


def layered(revision: str, below: str) -> str:
    """The revision of a project on an image of Flightdeck with another one: dirty if either is."""
    if DIRTY not in below:
        return revision
    commit, _, difference = revision.partition(DIRTY)
    return f"{commit}{DIRTY}{hashlib.sha256(f'{difference}{below}'.encode()).hexdigest()[:8]}"


def reference(repository: str, revision: str, target: Target) -> str:
    """The name of an image with its tag: 12 digits of the commit, whether the checkout was dirty, and an ending.

    Raises:
        FlightdeckError: the repository is not a name that an engine accepts.
    """
    if not REPOSITORY.fullmatch(repository):
        raise FlightdeckError(
            f"`{repository}` is not the name of a repository; it is of the form HOST/FOLDER/NAME in lower case, "
            "without a tag."
        )
    commit, dirty, difference = revision.partition(DIRTY)
    return f"{repository}:{commit[:12]}{dirty}{difference}{ENDINGS[target]}"


def build_arguments(
    image: str,
    target: Target,
    commit: str,
    root: Path,
    base: str | None = None,
    platform: str = "linux/amd64",
    network: str | None = None,
    ca_file: Path | None = None,
    index_variable: str | None = None,
) -> list[str]:
    """What to give the ``docker`` command to build a stage of the Dockerfile, with the checkout as context.

    Certificates and the variable with the address of a package index, which may hold a password, are passed as secrets.
    """
    return _build(
        root,
        ("--file", str(root / DOCKERFILE)),
        ("--target", target),
        ("--platform", platform),
        ("--tag", image),
        ("--build-arg", f"COMMIT={commit}"),
        ("--build-arg", base and f"BASE={base}"),
        ("--network", network),
        ("--secret", ca_file and f"id=ca,src={ca_file.resolve()}"),
        ("--secret", index_variable and f"id=index,env={index_variable}"),
    )


def layer_arguments(
    image: str, commit: str, root: Path, flightdeck: str, platform: str = "linux/amd64", network: str | None = None
) -> list[str]:
    """The same for the Dockerfile of a project, which is built on an image of Flightdeck."""
    return _build(
        root,
        ("--file", str(root / PROJECT_DOCKERFILE)),
        ("--platform", platform),
        ("--tag", image),
        ("--build-arg", f"COMMIT={commit}"),
        ("--build-arg", f"FLIGHTDECK={flightdeck}"),
        ("--network", network),
    )


def _build(context: Path, *options: tuple[str, str | None]) -> list[str]:
    given = [word for option, value in options if value for word in (option, value)]
    return ["build", *given, str(context)]


def builder_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for a build with BuildKit, which the Dockerfile's secrets and caches need.

    Raises:
        FlightdeckError: there is no docker client, or it cannot use BuildKit.
    """
    version = _docker("--version").stdout.decode(errors="replace")
    # Since 23 the client needs a plugin for it; before, it was built in.
    major = re.search(r"version (\d+)\.", version)
    if major and int(major[1]) >= 23 and _docker("buildx", "version").returncode:
        raise FlightdeckError(
            f"The docker client ({version.strip()}) lacks its buildx plugin, which the Dockerfile needs; "
            "install docker-buildx, or docker-buildx-plugin."
        )
    return {**environment, "DOCKER_BUILDKIT": "1"}


def require_engine(host: str | None) -> None:
    """Refuses to go on where no engine answers at ``host``, the value of DOCKER_HOST.

    Raises:
        FlightdeckError: none does.
    """
    done = _docker("version", "--format", "{{.Server.Version}}")
    if done.returncode:
        where = f"at DOCKER_HOST={host}" if host else "at its default address"
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["nothing"]
        raise FlightdeckError(
            f"No Docker engine answers {where}; start one, or set DOCKER_HOST. Docker says: {lines[-1]}"
        )


def inspect(image: str) -> dict[str, Any] | None:
    """What the engine knows of an image; None when it has no such image."""
    done = _docker("image", "inspect", image)
    return None if done.returncode else json.loads(done.stdout)[0]


def flightdeck_of(inspected: Mapping[str, Any]) -> str | None:
    """The revision of Flightdeck that an image holds, by what `inspect` knows of it; None if it does not say."""
    variables = dict(variable.partition("=")[::2] for variable in (inspected.get("Config") or {}).get("Env") or ())
    return variables.get(stamp.COMMIT_VARIABLE)


def _docker(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(["docker", *arguments], capture_output=True)
    except FileNotFoundError:
        raise FlightdeckError(
            "There is no docker command; install Docker, or its client and set DOCKER_HOST to an engine."
        ) from None
