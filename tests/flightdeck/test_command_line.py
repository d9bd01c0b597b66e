"""The command line, as a person uses it: in a process of its own."""

import json
import subprocess
import sys

import pytest

from tests.world import ROOT

pytestmark = pytest.mark.unit


def flightdeck(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flightdeck", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
    )


@pytest.mark.parametrize(
    "command", [[], ["data"], ["config"], ["new"], ["run"], ["predict"], ["runs"], ["runs", "list"], ["lab"]]
)
def test_help_imports_nothing_heavy(command):
    program = (
        "import sys\nfrom flightdeck.__main__ import app\n"
        f"try:\n    app({[*command, '--help']!r})\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "heavy = {'tensorflow', 'tfx', 'apache_beam', 'pandas', 'pyarrow', 'numpy', 'ml_metadata'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)

    assert done.returncode == 0, done.stderr
    assert "--help" in done.stdout


def test_settings_can_be_checked_without_tensorflow():
    program = (
        "import sys\nfrom flightdeck.__main__ import app\n"
        "try:\n    app(['config', 'show'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "heavy = {'tensorflow', 'tfx', 'apache_beam'}\nassert not heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)

    assert done.returncode == 0, done.stderr


def test_show_prints_the_settings_in_force():
    shown = json.loads(flightdeck("config", "show", "--json", "--set", "model.epochs=11").stdout)

    assert shown["model"]["epochs"] == 11
    assert shown["evaluation"]["metrics"][0]["name"] == "AUC"


def test_schema_describes_the_sections_of_the_use_case_too():
    schema = json.loads(flightdeck("config", "schema").stdout)

    assert schema["properties"]["workspace"]["description"]
    assert "epochs" in schema["$defs"]["ModelSettings"]["properties"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "--set", "model.epoch=3"], "there is no setting `model.epoch`"),
        (["run", "--set", "nonsense"], "not of the form key=value"),
        (["run", "--config", "absent.yaml"], "There is no settings file absent.yaml."),
        (["run", "--set", "workspace=/proc/nowhere", "--set", "data.spans=/tmp"], "cannot be written to"),
        (["run", "--set", "data.spans=/nowhere"], "prepare it with: flightdeck data prepare"),
        (["data", "prepare", "--set", "data.spans=/proc/nowhere"], "/proc/nowhere"),
        (["data", "schema-diff", "--set", "workspace=/nowhere"], "run the pipeline first"),
        (["predict", "--set", "workspace=/nowhere"], "run the pipeline first"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(arguments, sentence):
    done = flightdeck(*arguments)

    assert done.returncode == 2, done.stderr
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_an_unknown_option_is_exit_code_2():
    assert flightdeck("run", "--windows", "1:2").returncode == 2
