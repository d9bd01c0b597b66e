"""What the Dockerfile promises, read from its text: no engine is needed."""

import fnmatch
import os
import re
import tomllib
from pathlib import Path

import pytest

from tests.world import ROOT

pytestmark = pytest.mark.unit
TARGETS = {"cpu": "runtime.txt", "gpu": "gpu.txt", "serve": "serve.txt"}

Instruction = tuple[str, str]


def stages() -> dict[str, tuple[str, list[Instruction]]]:
    """Each stage of the Dockerfile by name: what it starts from, and its instructions in order."""
    text = (ROOT / "deploy" / "docker" / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    by_name: dict[str, tuple[str, list[Instruction]]] = {}
    instructions: list[Instruction] = []
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            instructions = []
            by_name[name] = (base, instructions)
        elif word:
            instructions.append((word, " ".join(rest.split())))
    return by_name


def lineage(target: str) -> list[Instruction]:
    """The instructions that make up an image: those of its stage and of the stages that it starts from."""
    base, instructions = stages()[target]
    return [*(lineage(base) if base in stages() else []), *instructions]


def value(instructions: list[Instruction], word: str) -> str:
    return [rest for kind, rest in instructions if kind == word][-1]


def sources(instructions: list[Instruction]) -> list[str]:
    copied = [rest.split() for word, rest in instructions if word == "COPY" and "--from=" not in rest]
    return [source for words in copied for source in words[:-1]]


def in_context(path: str) -> bool:
    """Whether .dockerignore lets a path of the checkout into a build; its last matching line decides."""
    kept = True
    parents = [path, *(str(parent) for parent in Path(path).parents if str(parent) != ".")]
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.lstrip("!")
        if not line or line.startswith("#"):
            continue
        # A pattern that begins with **/ is about the name of a file or folder anywhere.
        names = map(os.path.basename, parents) if pattern.startswith("**/") else ()
        if fnmatch.filter(parents, pattern) or fnmatch.filter(names, pattern.removeprefix("**/")):
            kept = line.startswith("!")
    return kept


def test_everything_copied_exists_and_reaches_the_build():
    copied = [source for _, instructions in stages().values() for source in sources(instructions)]

    assert len(copied) > 10
    for source in copied:
        assert (ROOT / source).exists(), source
        assert in_context(source), source


def test_every_package_of_the_project_is_in_the_image():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    _, instructions = stages()["application"]

    copied = {Path(source).parts[0] for source in sources(instructions)}
    packages = {*project["tool"]["importlinter"]["root_packages"]} - {"notebooks"}  # labs run where they are read
    assert copied >= {*packages, "config", "LICENSE"}
    assert not copied & {"tests", "notebooks", "benchmarks", "docs"}


@pytest.mark.parametrize("path", ["workspace/metadata.db", "build/x", ".git/config", ".env", "data/.env", "uv.lock",
                                  "tests/x.py", "models/__pycache__/x.pyc"])  # fmt: skip
def test_nothing_else_reaches_the_build(path):
    assert not in_context(path)


@pytest.mark.parametrize(("target", "lock"), TARGETS.items())
def test_a_target_holds_exactly_the_packages_of_its_lock_and_then_the_code(target, lock):
    image = lineage(target)
    _, packages = stages()[f"packages-{target}"]
    installs = [rest for word, rest in packages if word == "RUN" and "uv pip" in rest]

    copied = [rest for word, rest in image if word == "COPY"]
    assert copied.index(f"--from=packages-{target} /opt/venv /opt/venv") < copied.index("--from=application /app /app")
    assert len(installs) == 1
    assert installs[0].endswith(f"pip sync --python /opt/venv/bin/python --require-hashes requirements/{lock}")
    assert not any(word == "RUN" and re.search(r"\b(pip|uv|apt-get) ", rest) for word, rest in image)


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_runs_as_a_user_without_rights_and_writes_below_tmp_only(target):
    image = lineage(target)

    assert value(image, "USER") == "10001:10001"
    environment = " ".join(rest for word, rest in image if word == "ENV").split()
    settings = dict(variable.split("=", 1) for variable in environment)
    assert settings["PYTHONDONTWRITEBYTECODE"] == "1"
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR", "KERAS_HOME"):
        assert Path("/tmp") in (Path(settings[name]), *Path(settings[name]).parents), name


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_says_what_it_was_made_from_and_a_new_commit_copies_nothing_again(target):
    image = lineage(target)
    position = image.index(("ARG", "COMMIT=unknown"))

    assert ("ENV", "FLIGHTDECK_COMMIT=${COMMIT}") in image[position:]
    assert ("LABEL", 'org.opencontainers.image.revision="${COMMIT}"') in image[position:]
    assert not any(word in ("COPY", "RUN") for word, _ in image[position:])


def test_the_base_can_be_chosen_for_every_stage():
    outside = {base for base, _ in stages().values() if base not in stages()}

    assert outside == {"${BASE}"}
