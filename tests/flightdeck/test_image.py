"""The image's commands: what docker is told, which tag a checkout gets, and what a person reads when it cannot work."""

import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from errors import FlightdeckError
from operations.delivery import images
from tests.flightdeck.conftest import refused
from tests.repository import git
from tests.world import ROOT

pytestmark = pytest.mark.unit
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init", "--quiet")
    (folder / ".gitignore").write_text("build/\n")
    (folder / "code.py").write_text("answer = 41\n")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "Begin")
    return folder


def test_the_revision_of_a_clean_checkout_is_its_commit(checkout):
    (checkout / "build").mkdir()
    (checkout / "build" / "ignored").write_text("x")

    assert images.checkout_revision(checkout) == git(checkout, "rev-parse", "HEAD")


def test_every_difference_from_the_commit_has_a_revision_of_its_own(checkout):
    revisions = [images.checkout_revision(checkout)]
    (checkout / "code.py").write_text("answer = 42\n")
    revisions.append(images.checkout_revision(checkout))
    git(checkout, "add", ".")
    staged = images.checkout_revision(checkout)
    (checkout / "new.py").write_text("question = None\n")
    revisions.append(images.checkout_revision(checkout))
    (checkout / "new.py").write_text("question = 6 * 9\n")
    revisions.append(images.checkout_revision(checkout))
    (checkout / "new.py").rename(checkout / "newer.py")
    revisions.append(images.checkout_revision(checkout))

    assert staged == revisions[1]
    assert len(set(revisions)) == len(revisions)
    assert all(revision.startswith(f"{revisions[0]}-dirty-") for revision in revisions[1:])
    (checkout / "newer.py").unlink()
    assert images.checkout_revision(checkout) == revisions[1]
    (checkout / "link").symlink_to("nowhere")
    assert images.checkout_revision(checkout) not in revisions


@pytest.mark.parametrize("is_repository", [False, True])
def test_a_folder_without_a_commit_is_refused(tmp_path, is_repository):
    if is_repository:
        git(tmp_path, "init", "--quiet")

    with pytest.raises(FlightdeckError, match="is not a git checkout with a commit"):
        images.checkout_revision(tmp_path)


@pytest.mark.parametrize(
    ("revision", "target", "tag"),
    [
        (COMMIT, "cpu", "0123456789ab"),
        (COMMIT, "gpu", "0123456789ab-gpu"),
        (f"{COMMIT}-dirty-deadbeef", "cpu", "0123456789ab-dirty-deadbeef"),
        (f"{COMMIT}-dirty-deadbeef", "gpu", "0123456789ab-dirty-deadbeef-gpu"),
    ],
)
def test_the_tag_is_the_commit(revision, target, tag):
    assert images.reference("flightdeck", revision, target) == f"flightdeck:{tag}"


@pytest.mark.parametrize(
    "repository", ["flightdeck", "a/b-c/d_e.f", "127.0.0.1:5000/flightdeck", "eu.example.org/p/r/n"]
)
def test_names_of_repositories_are_accepted(repository):
    assert images.reference(repository, COMMIT, "cpu") == f"{repository}:0123456789ab"


@pytest.mark.parametrize(
    "repository", ["", "Flightdeck", "a/B", "a//b", "a/b:tag", "a b", "https://host/a", "-a", "a/"]
)
def test_other_names_are_refused(repository):
    with pytest.raises(FlightdeckError, match="is not the name of a repository"):
        images.reference(repository, COMMIT, "cpu")


def test_a_plain_build_says_only_what_it_must():
    arguments = images.build_arguments(image="n:t", target="cpu", commit=COMMIT, root=Path("/c"))

    assert arguments == [
        *("build", "--file", "/c/deploy/docker/Dockerfile", "--target", "cpu", "--platform", "linux/amd64"),
        *("--tag", "n:t", "--build-arg", f"COMMIT={COMMIT}", "/c"),
    ]


def test_certificates_and_index_are_secrets_and_never_build_arguments():
    arguments = images.build_arguments(
        image="n:t",
        target="gpu",
        commit=COMMIT,
        root=Path("/c"),
        base="debian-with-python",
        platform="linux/arm64",
        network="host",
        ca_file=Path("/etc/ca.pem"),
        index_variable="PIP_INDEX_URL",
    )

    given = [(arguments[at], arguments[at + 1]) for at in range(1, len(arguments) - 1, 2)]
    assert ("--target", "gpu") in given
    assert ("--platform", "linux/arm64") in given
    assert ("--network", "host") in given
    assert ("--secret", "id=ca,src=/etc/ca.pem") in given
    assert ("--secret", "id=index,env=PIP_INDEX_URL") in given
    assert [value for option, value in given if option == "--build-arg"] == [
        f"COMMIT={COMMIT}",
        "BASE=debian-with-python",
    ]
    assert arguments[-1] == "/c"


@pytest.fixture
def search_path(tmp_path: Path) -> Path:
    folder = tmp_path / "programs"
    folder.mkdir()
    (folder / "git").symlink_to(shutil.which("git") or "git")
    return folder


@pytest.fixture
def docker(search_path):
    """Puts a docker client among the programs: what a real one of that kind prints."""

    def put(script: str) -> None:
        (search_path / "docker").write_text(f"#!/bin/sh\n{script}\n")
        (search_path / "docker").chmod(0o755)

    return put


@pytest.fixture
def image(search_path):
    """Runs `flightdeck image` with a search path of one folder: exit code, standard output, standard error."""
    here = {name: value for name, value in os.environ.items() if name not in ("PIP_CERT", "SSL_CERT_FILE")}

    def run(*arguments: str, cwd: Path = ROOT, **variables: str) -> tuple[int, str, str]:
        command = [sys.executable, "-B", "-m", "flightdeck", "image", *arguments]
        environment = {**here, "PATH": str(search_path), **variables}
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    return run


WITHOUT_ENGINE = """
case "$1" in
--version) echo "Docker version 20.10.24, build 297e128" ;;
*) echo "Cannot connect to the Docker daemon at $DOCKER_HOST. Is the docker daemon running?" >&2; exit 1 ;;
esac"""
WITHOUT_BUILDX = """
case "$1" in
--version) echo "Docker version 28.2.2, build e6534b4" ;;
*) echo "unknown command: docker $1" >&2; exit 1 ;;
esac"""
# Records its arguments, and knows no image.
WITH_ENGINE = """
case "$1" in
--version) echo "Docker version 20.10.24, build 297e128" ;;
version) echo 20.10.24 ;;
image) exit 1 ;;
build) echo "$DOCKER_BUILDKIT" "$@" >"$RECORD"; echo "no space left on device" >&2; exit 1 ;;
esac"""


def test_without_git_that_is_said(image, tmp_path):
    refused(image("build", PATH=str(tmp_path)), "There is no git command")


@pytest.mark.parametrize(
    ("script", "arguments", "sentence"),
    [
        (None, ["build"], "There is no docker command"),
        (WITHOUT_BUILDX, ["build"], "install docker-buildx"),
        (WITHOUT_ENGINE, ["build"], "No Docker engine answers at DOCKER_HOST=unix:///nowhere/docker.sock"),
        (
            WITH_ENGINE,
            ["push", "--repository", "host/flightdeck", "--allow-dirty"],
            "build it first with: flightdeck image build --repository host/flightdeck --target cpu",
        ),
    ],
)
def test_what_cannot_work_is_refused_with_the_remedy(image, docker, script, arguments, sentence):
    if script:
        docker(script)

    refused(image(*arguments, DOCKER_HOST="unix:///nowhere/docker.sock"), sentence)


def test_a_failed_build_shows_what_docker_printed(image, docker, tmp_path):
    docker(WITH_ENGINE)
    index = "https://user:secret@index.example.org/simple"

    code, out, err = image("build", "--json", RECORD=str(tmp_path / "record"), PIP_INDEX_URL=index)

    assert (code, out) == (1, "")
    assert "no space left on device" in err
    recorded = (tmp_path / "record").read_text()
    assert recorded.startswith("1 build --file")
    assert "--secret id=index,env=PIP_INDEX_URL" in recorded
    assert "secret@" not in recorded + err


def test_a_dirty_checkout_is_not_pushed(checkout, image, docker):
    """In a checkout of the command line alone, so that the state of this one does not matter."""
    shutil.copytree(ROOT / "flightdeck", checkout / "flightdeck", ignore=shutil.ignore_patterns("__pycache__"))
    docker(WITH_ENGINE)
    push = functools.partial(image, "push", "--repository", "host/n", cwd=checkout)

    refused(push(), "changes that no commit holds")
    refused(push("--allow-dirty"), "There is no image host/n:")
    git(checkout, "add", ".")
    git(checkout, "commit", "--quiet", "-m", "Go on")
    refused(push(), f"There is no image host/n:{git(checkout, 'rev-parse', 'HEAD')[:12]};")


def test_the_report_of_a_build_is_one_json_document(image, docker):
    knowing = WITH_ENGINE.replace("image) exit 1", """image) echo '[{"Id": "sha256:1", "Size": 5}]'""")
    docker(knowing.replace("exit 1 ;;\nesac", "exit 0 ;;\nesac"))

    report = json.loads(image("build", "--json", "--target", "gpu", RECORD="/dev/null")[1])
    assert report["image"].startswith("flightdeck:")
    assert report["image"].endswith("-gpu")
    assert (report["id"], report["bytes"], report["target"]) == ("sha256:1", 5, "gpu")
