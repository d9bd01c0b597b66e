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
from tests.teaching.new_project import small_project
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
        (COMMIT, "serve", "0123456789ab-serve"),
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


# As an engine does: knows an image once it was built, and which commit of Flightdeck is in it.
ENGINE = """
import json, os, sys
from pathlib import Path
state = Path(os.environ["STATE"])
match sys.argv[1:]:
    case ["--version"]:
        print("Docker version 20.10.24, build 297e128")
    case ["version", *_]:
        print("20.10.24")
    case ["image", "inspect", name]:
        known = json.loads(state.read_text()) if state.exists() else {}
        if name not in known:
            sys.exit(1)
        variable = f"FLIGHTDECK_COMMIT={known[name]}"
        print(json.dumps([{"Id": "sha256:1", "Size": 5, "Config": {"Env": [variable]}}]))
    case ["build", *options]:
        known = json.loads(state.read_text()) if state.exists() else {}
        given = dict(word.split("=", 1) for word in options if "=" in word)
        known[options[options.index("--tag") + 1]] = known.get(given.get("FLIGHTDECK"), given["COMMIT"])
        state.write_text(json.dumps(known))
        with open(os.environ["RECORD"], "a") as record:
            record.write(json.dumps(options) + chr(10))
"""


@pytest.fixture(scope="module")
def loans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_project.new(tmp_path_factory.mktemp("projects"))


@pytest.fixture
def own_project(loans: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(loans, tmp_path / "loans"))


@pytest.fixture
def own_image(own_project: Path, image, search_path: Path, tmp_path: Path):
    """Runs `flightdeck image` in the project, with an engine; what docker built is in `builds`."""
    (search_path / "docker").write_text(f"#!{sys.executable}\n{ENGINE}")
    (search_path / "docker").chmod(0o755)

    def run(*arguments: str, **images: str) -> tuple[int, str, str]:
        if images:
            (tmp_path / "state").write_text(json.dumps(images))
        variables = {"STATE": str(tmp_path / "state"), "RECORD": str(tmp_path / "builds")}
        return image(*arguments, cwd=own_project, **variables)

    return run


def builds(folder: Path) -> list[list[str]]:
    return [json.loads(line) for line in (folder / "builds").read_text().splitlines()]


def test_the_image_of_a_project_is_a_layer_on_that_of_flightdeck_which_is_built_first(own_image, own_project, tmp_path):
    code, out, err = own_image("build", "--json")
    assert code == 0, err
    report, head = json.loads(out), git(own_project, "rev-parse", "HEAD")
    revision = images.checkout_revision(ROOT)
    flightdeck = images.reference("flightdeck", revision, "cpu")

    below, layer = builds(tmp_path)
    assert below[below.index("--tag") + 1] == flightdeck
    assert below[-1] == str(ROOT)
    assert layer == images.layer_arguments(report["image"], head, own_project, flightdeck)[1:]
    assert f"--build-arg COMMIT={head} --build-arg FLIGHTDECK={flightdeck}" in " ".join(layer)
    assert report["image"] == images.reference("loans", images.layered(head, revision), "cpu")
    assert (report["commit"], report["flightdeck"]) == (head, revision)
    # And not once more.
    own_image("build")
    assert [build[-1] for build in builds(tmp_path)] == [str(ROOT), str(own_project), str(own_project)]


def test_the_tag_is_the_commit_of_the_project_and_says_if_anything_is_dirty(own_image, own_project):
    flightdeck, head = git(ROOT, "rev-parse", "HEAD"), git(own_project, "rev-parse", "HEAD")
    named = ("build", "--json", "--repository", "host/loans", "--base")

    def built(base: str, *more: str) -> str:
        code, out, err = own_image(*named, base, *more, **{"clean": flightdeck, "dirty": f"{flightdeck}-dirty-1"})
        assert code == 0, err
        return json.loads(out)["image"]

    tags = [built("clean"), built("clean", "--target", "gpu"), built("dirty")]
    (own_project / "usecase" / "CARD.md").write_text("changed")
    tags += [built("clean"), built("dirty")]

    assert tags[:2] == [f"host/loans:{head[:12]}", f"host/loans:{head[:12]}-gpu"]
    assert all(tag.startswith(f"host/loans:{head[:12]}-dirty-") for tag in tags[2:])
    assert len(set(tags)) == len(tags)


def test_an_image_of_another_flightdeck_or_of_none_is_refused_before_anything_is_built(own_image, tmp_path):
    base = ("build", "--base", "host/flightdeck:1")

    refused(own_image(*base), "does not hold the image host/flightdeck:1, on which that of the project would be built")
    refused(own_image(*base, **{"host/flightdeck:1": "0" * 40}), "holds Flightdeck 000000000000, and")
    assert not (tmp_path / "builds").exists()


def test_a_project_for_another_flightdeck_and_one_without_a_dockerfile_are_refused(own_image, own_project, tmp_path):
    settings = own_project / "config" / "kubeflow.yaml"
    settings.write_text(settings.read_text().replace(git(ROOT, "rev-parse", "HEAD"), "0" * 40))

    for command in (["build"], ["push", "--repository", "host/loans", "--allow-dirty"]):
        refused(own_image(*command), "move the project to this one with: flightdeck upgrade")
    (own_project / "Dockerfile").unlink()
    refused(own_image("build"), "gets one by: flightdeck upgrade")
    assert not (tmp_path / "builds").exists()


def test_a_project_with_changes_that_no_commit_holds_is_not_pushed(own_image, own_project):
    (own_project / "new.py").write_text("")
    push = functools.partial(own_image, "push", "--repository", "host/loans")

    refused(push(), "The project, or Flightdeck below it, has changes that no commit holds")
    refused(push("--allow-dirty"), "There is no image host/loans:")
