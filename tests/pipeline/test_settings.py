"""Settings: what a person can get wrong, and what they are told."""

import textwrap
from pathlib import Path

import pytest

from flightdeck.settings import read_settings
from pipeline.settings import SettingsError
from tests.world import LOCAL

pytestmark = pytest.mark.unit


def refusal(*overrides: str, path: Path = LOCAL) -> str:
    with pytest.raises(SettingsError) as caught:
        read_settings(path, overrides)
    return str(caught.value)


def test_the_shipped_settings_load_and_relative_paths_belong_to_the_project():
    settings = read_settings(LOCAL)

    assert settings.workspace == str(LOCAL.parents[1] / "workspace")
    assert settings.spans == f"{settings.workspace}/spans"
    assert settings.use_case.schema_file.is_file()


def test_an_override_reaches_a_nested_setting_with_its_type():
    settings = read_settings(LOCAL, ["model.epochs=7", "model.hidden_units=[8, 4]", "workspace=/elsewhere"])

    assert settings.model.epochs == 7
    assert settings.model.hidden_units == (8, 4)
    assert settings.workspace == "/elsewhere"


def test_an_unknown_setting_is_named_and_the_nearest_one_suggested():
    assert "there is no setting `model.epoch`; did you mean `model.epochs`?" in refusal("model.epoch=3")
    assert "there is no setting `evaluation.metrics.0.at_leest`; did you mean" in refusal(
        "evaluation.metrics=[{name: AUC, at_leest: 0.5}]"
    )


def test_a_value_of_the_wrong_type_is_named_with_what_was_given():
    message = refusal("data.eval_spans=many")

    assert "`data.eval_spans`" in message
    assert '"many"' in message


def test_every_problem_is_reported_not_only_the_first():
    assert len(refusal("data.eval_spans=many", "modell=1", "cache=perhaps").splitlines()) == 3


@pytest.mark.parametrize("override", ["model.epochs", "=3", "model..epochs=3"])
def test_an_override_that_is_not_an_assignment_is_refused(override):
    assert "not of the form key=value" in refusal(override)


def test_an_override_below_a_plain_value_is_refused():
    assert "`workspace` is not a section" in refusal("workspace.deeper=1")


def test_a_feature_not_known_at_prediction_time_is_refused_with_the_reason():
    message = refusal(
        "features.numeric=[dep_delay]",
        "features.heavy_tailed=[]",
        "features.missing_indicators=[]",
        "features.cyclic={}",
    )

    assert "dep_delay" in message
    assert "after departure" in message


def test_a_slice_on_an_unknown_column_is_refused():
    assert "`nowhere` is not an ingested column" in refusal(
        "evaluation.slices=[[nowhere]]", "evaluation.gated_slices=[]"
    )


def test_an_evaluation_that_can_never_fail_is_refused():
    assert "no model could ever be blessed" in refusal("evaluation.metrics=[{name: AUC}]")


def test_a_comparison_without_a_direction_is_refused():
    assert "`better` must be" in refusal("evaluation.metrics=[{name: AUC, at_least: 0.5, may_lose: 0.1}]")


def test_a_missing_file_and_a_file_that_is_not_yaml_are_one_sentence(tmp_path):
    assert refusal(path=tmp_path / "absent.yaml") == f"There is no settings file {tmp_path / 'absent.yaml'}."
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1\n")
    assert "cannot be read" in refusal(path=broken)
    broken.write_text("- a\n")
    assert "must hold a mapping" in refusal(path=broken)


def test_a_file_that_extends_another_says_only_what_differs():
    cluster, local = read_settings(LOCAL.with_name("kubeflow.yaml")), read_settings(LOCAL)

    assert cluster.evaluation == local.evaluation
    assert cluster.features == local.features
    assert cluster.model.epochs == local.model.epochs
    assert (cluster.model.accelerator, local.model.accelerator) == ("required", "auto")


def test_files_that_extend_each_other_are_refused(tmp_path):
    (tmp_path / "a.yaml").write_text("extends: b.yaml\n")
    (tmp_path / "b.yaml").write_text("extends: a.yaml\n")

    assert "cannot extend" in refusal(path=tmp_path / "a.yaml")


def test_a_use_case_that_cannot_be_imported_is_named():
    assert "`models.nothing.Here` cannot be imported" in refusal("use_case.model=models.nothing.Here")


def test_settings_cannot_be_changed_after_loading():
    with pytest.raises(ValueError, match="frozen"):
        read_settings(LOCAL).cache = False


def test_the_digest_follows_the_settings():
    assert read_settings(LOCAL).digest() == read_settings(LOCAL).digest()
    assert read_settings(LOCAL).digest() != read_settings(LOCAL, ["model.epochs=9"]).digest()


def test_a_settings_file_outside_config_anchors_paths_beside_itself(tmp_path):
    copy = tmp_path / "mine.yaml"
    copy.write_text(
        LOCAL.read_text()
        .replace("data/contract.yaml", str(LOCAL.parents[1] / "data/contract.yaml"))
        .replace("data/schema.pbtxt", str(LOCAL.parents[1] / "data/schema.pbtxt"))
        + textwrap.dedent("\n")
    )

    assert read_settings(copy).workspace == str(tmp_path / "workspace")


def test_a_bucket_stays_a_bucket():
    settings = read_settings(LOCAL, ["workspace=gs://bucket/flights/"])

    assert settings.artifacts == "gs://bucket/flights/artifacts"
    assert settings.spans == "gs://bucket/flights/spans"


def test_a_window_that_makes_no_sense_is_refused_before_anything_is_loaded():
    assert "data.window" in refusal('data.window="5:last"')
    assert "data.window" in refusal("data.window=all")


@pytest.mark.parametrize(("text", "mode"), [("off", "off"), ("flag", "flag"), ("refuse", "refuse")])
def test_a_word_is_a_word(text: str, mode: str):
    """YAML 1.1 would read off as false."""
    assert read_settings(LOCAL, [f"serving.validation={text}"]).serving.validation == mode


def test_true_and_false_are_truth_values():
    assert read_settings(LOCAL, ["cache=false"]).cache is False
    assert read_settings(LOCAL, ["cache=True"]).cache is True


@pytest.mark.parametrize("window", ["1:6", "10:12", "newest-5:newest"])
def test_a_window_needs_no_quotes(window):
    """YAML 1.1 would read 1:6 as the number 66."""
    assert read_settings(LOCAL, [f"data.window={window}"]).data.window == window


@pytest.mark.parametrize(
    ("text", "value"), [("3", 3), ("0.002", 0.002), ("1e-3", 0.001), ("2.5e-4", 0.00025), ("-0", 0), (".5", 0.5)]
)
def test_numbers_are_numbers(text, value):
    assert read_settings(LOCAL, [f"evaluation.metrics=[{{name: AUC, at_least: {text}}}]"]).evaluation.metrics[
        0
    ].at_least == pytest.approx(value)
