"""The command line, as a person uses it: in a process of its own."""

import json
import subprocess
import sys

import pytest

from tests.flightdeck.conftest import imports_none_of, refused
from tests.world import ROOT

pytestmark = pytest.mark.unit


def flightdeck(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flightdeck", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)


@pytest.mark.parametrize(
    "command",
    [
        "", "data", "config", "new", "run", "predict", "runs", "runs list", "lab",
        "kubeflow", "kubeflow submit", "kubeflow schedule",
    ],
)  # fmt: skip
def test_help_imports_nothing_heavy(command):
    heavy = {"tensorflow", "tfx", "apache_beam", "pandas", "pyarrow", "numpy", "ml_metadata"}
    done = imports_none_of(heavy | {"kfp", "kfp_server_api", "kubernetes", "urllib3"}, *command.split(), "--help")

    assert "--help" in done.stdout


def test_settings_can_be_checked_without_tensorflow():
    imports_none_of({"tensorflow", "tfx", "apache_beam"}, "config", "show")


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

    refused((done.returncode, done.stdout, done.stderr), sentence)


def test_an_unknown_option_is_exit_code_2():
    assert flightdeck("run", "--windows", "1:2").returncode == 2
