"""A use case in a project of its own: found, stamped, and kept from hiding anything."""

import json
import os
import re
import shutil
import subprocess
import sys
import types
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from tests.world import LOCAL, ROOT

pytestmark = pytest.mark.unit

PREPARE = "def prepare(destination, *, progress=None):\n    raise NotImplementedError\n"
# Each test asks in a process of its own: what is importable is a matter of the process.
READ = """
import json, os, sys
from pathlib import Path
from flightdeck.settings import read_settings
def read(argument=1, adopt=False):
    return read_settings(Path(sys.argv[argument]), adopt=adopt)
"""
COMMAND = "from flightdeck.__main__ import main\nmain()\n"
DESCRIBE = """
from pipeline import settings_file, stamp
settings = read(adopt=True)
again = settings_file.from_document(settings.document())
print(json.dumps({
    "project": str(settings.project), "again": str(again.project), "contract": str(again.use_case.contract),
    "document": settings.document()["use_case"], "sources": stamp.sources_of(settings),
    "code": settings_file.resolve(settings.use_case.prepare).__code__.co_filename, "digest": settings.digest(),
}))
"""


# Without files, as a task in a container.
IN_AN_IMAGE = """
from pipeline import settings_file, stamp
settings = settings_file.from_document(json.loads(sys.argv[1]))
print(json.dumps({
    "digest": settings.digest(), "sources": stamp.sources_of(settings), "project": str(settings.project),
    "contract": str(settings.use_case.contract), "own": stamp.code_of(settings).model_dump(),
    "flightdeck": stamp.code().model_dump(),
}))
"""


def project(folder: Path, package: str = "usecase") -> Path:
    """The flights' settings in a project of its own, with the preparation in a package of its own: its settings."""
    settings = yaml.safe_load(LOCAL.read_text())
    (folder / package).mkdir(parents=True)
    (folder / "config").mkdir()
    (folder / package / "__init__.py").write_text("")
    (folder / package / "prepare.py").write_text(PREPARE)
    for name in ("contract.yaml", "schema.pbtxt"):
        (folder / package / name).write_bytes((ROOT / "data" / name).read_bytes())
    settings["use_case"] |= {
        "contract": f"{package}/contract.yaml",
        "schema_file": f"{package}/schema.pbtxt",
        "prepare": f"{package}.prepare.prepare",
        "model_card": None,
    }
    path = folder / "config" / "local.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def python(
    program: str,
    *arguments: Path | str,
    cwd: Path = ROOT,
    expect: int = 0,
    variables: Mapping[str, str] = types.MappingProxyType({}),
) -> str:
    """What a program prints; on standard error, if it is expected to fail."""
    given = {name: value for name, value in os.environ.items() if name != "FLIGHTDECK_PROJECT"}
    command = [sys.executable, "-c", READ + program, *map(str, arguments)]
    environment = {**given, "PYTHONPATH": str(ROOT), **variables}
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=60)
    assert done.returncode == expect, done.stderr
    return done.stderr if expect else done.stdout


def test_a_project_outside_the_checkout_is_found_and_stamped_alike_wherever_it_is(tmp_path: Path):
    digests = set()
    for home in (tmp_path / "here", tmp_path / "there"):
        config = project(home)
        config.write_text(config.read_text().replace("workspace: workspace", "workspace: /w"))
        described = json.loads(python(DESCRIBE, config, cwd=tmp_path))
        digests.add(described["digest"])

        assert described["project"] == described["again"] == str(home)
        assert described["contract"] == str(home / "usecase" / "contract.yaml")
        assert described["code"] == str(home / "usecase" / "prepare.py")
        assert described["document"]["contract"] == "usecase/contract.yaml"
        assert {"usecase/prepare.py", "usecase/contract.yaml", "pipeline/definition.py"} <= set(described["sources"])
    assert len(digests) == 1


def test_the_processes_that_it_starts_read_its_recorded_settings(tmp_path: Path):
    parent = (
        "import subprocess\ndocument = read(adopt=True).document()\n"
        "child = 'import json, sys; from pipeline import settings_file; '\n"
        "child += 'print(settings_file.from_document(json.load(sys.stdin)).project)'\n"
        "subprocess.run([sys.executable, '-c', child], input=json.dumps(document), text=True, check=True)\n"
    )

    assert python(parent, project(tmp_path / "loans")).strip() == str(tmp_path / "loans")


def test_a_second_project_with_the_same_package_is_refused_and_not_mixed_up(tmp_path: Path):
    first, second = project(tmp_path / "first"), project(tmp_path / "second")

    said = python("read(1, adopt=True)\nread(2, adopt=True)\n", first, second, expect=1)

    assert f"there is another one of that name from {tmp_path / 'first' / 'usecase'}" in said


def test_only_adopting_a_project_changes_the_process(tmp_path: Path):
    program = (
        "before = list(sys.path), dict(os.environ)\nread(2)\n"
        "try:\n    read(1)\nexcept ValueError as error:\n    print(error)\n"
        "print((sys.path, dict(os.environ)) == before)\nread(1, adopt=True)\n"
        "print(sys.path[-1], os.environ['PYTHONPATH'].split(os.pathsep)[-1], os.environ['FLIGHTDECK_PROJECT'])\n"
        "print('FLIGHTDECK_PROJECT_COMMIT' in os.environ)\n"
    )
    of_another = {"FLIGHTDECK_PROJECT": "/project", "FLIGHTDECK_PROJECT_COMMIT": "a" * 40}

    *said, commit_stays = python(program, project(tmp_path / "loans"), LOCAL, variables=of_another).splitlines()
    refused, unchanged, adopted = said

    assert re.match("The package `usecase` of .* cannot be imported", refused)
    assert unchanged == "True"
    assert adopted == " ".join([str(tmp_path / "loans")] * 3)
    assert commit_stays == "False"


def test_a_project_hides_no_package_that_is_installed(tmp_path: Path):
    said = python(DESCRIBE, project(tmp_path / "loans", package="yaml"), expect=1)

    assert re.search("The package `yaml` of .* there is another one of that name", said)


def test_the_command_line_means_the_project_that_one_stands_in(tmp_path: Path):
    project(tmp_path / "loans")

    inside, outside = (
        json.loads(python(COMMAND, "config", "show", "--json", cwd=folder)) for folder in (tmp_path / "loans", tmp_path)
    )

    assert inside["use_case"]["contract"] == str(tmp_path / "loans" / "usecase" / "contract.yaml")
    assert outside["use_case"]["contract"] == str(ROOT / "data" / "contract.yaml")


def test_what_works_in_the_checkout_only_is_refused_in_one_sentence(tmp_path: Path):
    said = python(COMMAND, "runs", "against", "main", "-c", project(tmp_path / "loans"), cwd=tmp_path, expect=2)

    assert "only branches of Flightdeck's checkout can be compared" in said
    assert said.count("\n") == 1


def test_an_image_reads_the_settings_of_the_laptop_as_the_same_ones_and_says_both_commits(tmp_path: Path):
    config = project(tmp_path / "loans")
    config.write_text(config.read_text().replace("workspace: workspace", "workspace: /workspace"))
    laptop = json.loads(python(DESCRIBE + "print(json.dumps(settings.document()))", config).splitlines()[1])
    described = json.loads(python(DESCRIBE, config))
    image = tmp_path / "image" / "project"
    for name in ("config", "usecase"):  # as its Dockerfile copies them
        shutil.copytree(tmp_path / "loans" / name, image / name)
    own, flightdeck = "a" * 40, f"{'f' * 40}-dirty-12345678"
    variables = {
        "FLIGHTDECK_PROJECT": str(image), "PYTHONPATH": str(image),
        "FLIGHTDECK_PROJECT_COMMIT": own, "FLIGHTDECK_COMMIT": flightdeck,
    }  # fmt: skip
    told = json.loads(python(IN_AN_IMAGE, json.dumps(laptop), cwd=image, variables=variables))

    assert told["digest"] == described["digest"]
    assert told["sources"] == described["sources"]
    assert told["project"] == str(image)
    assert told["contract"] == str(image / "usecase" / "contract.yaml")
    assert told["own"] == {"commit": own, "branch": None, "dirty": False, "diff": None}
    assert (told["flightdeck"]["commit"], told["flightdeck"]["dirty"]) == ("f" * 40, True)
