"""The settings of the service, as a person writes them."""

import pytest

from flightdeck.settings import read_settings
from pipeline.settings import SettingsError
from tests.world import LOCAL, ROOT

pytestmark = pytest.mark.unit


def load(*overrides: str):
    return read_settings(LOCAL, overrides)


def test_the_service_is_for_this_machine_only_and_logs_into_the_workspace() -> None:
    settings = load("workspace=elsewhere")
    assert settings.serving.host == "127.0.0.1"
    assert settings.payloads == str(ROOT / "elsewhere" / "payloads")


def test_a_folder_of_payloads_is_relative_to_the_project() -> None:
    settings = load("serving.payloads.folder=logs/asked", "serving.payloads.exclude=[a, b]")
    assert settings.payloads == str(ROOT / "logs" / "asked")
    assert settings.serving.payloads.exclude == ("a", "b")
    assert load("serving.payloads.folder=gs://bucket/asked").payloads == "gs://bucket/asked"


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("serving.keep_version=3", "did you mean `serving.keep_versions`"),
        ("serving.keep_versions=0", "serving.keep_versions"),
        ("serving.payloads.sample=1.5", "serving.payloads.sample"),
        ("serving.port=70000", "serving.port"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(override: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        load(override)
