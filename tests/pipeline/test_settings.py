"""Settings: what a person can get wrong, and what they are told."""

import textwrap
from pathlib import Path

import pytest

from flightdeck.settings import Settings, read_settings
from pipeline import settings_file
from pipeline.settings import Settings as PipelineSettings
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


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("model.epoch=3", "there is no setting `model.epoch`; did you mean `model.epochs`?"),
        (
            "evaluation.metrics=[{name: AUC, at_leest: 0.5}]",
            "there is no setting `evaluation.metrics.0.at_leest`; did you mean",
        ),
        ("monitorin.window=day", "there is no setting `monitorin`; did you mean `monitoring`?"),
        ("canary.mood=off", "there is no setting `canary.mood`; did you mean `canary.mode`?"),
        ("data.eval_spans=many", '`data.eval_spans`: input should be a valid integer (got "many").'),
        ("model.epochs", "not of the form key=value"),
        ("=3", "not of the form key=value"),
        ("model..epochs=3", "not of the form key=value"),
        ("workspace.deeper=1", "`workspace` is not a section"),
        ("evaluation.metrics=[{name: AUC}]", "no model could ever be blessed"),
        ("evaluation.metrics=[{name: AUC, at_least: 0.5, may_lose: 0.1}]", "`better` must be"),
        ("use_case.model=models.nothing.Here", "`models.nothing.Here` cannot be imported"),
        ('data.window="5:last"', "data.window"),
        ("data.window=all", "data.window"),
    ],
)
def test_a_wrong_setting_is_refused(override, sentence):
    assert sentence in refusal(override)


def test_every_problem_is_reported_not_only_the_first():
    assert len(refusal("data.eval_spans=many", "modell=1", "cache=perhaps", "serving.port=x").splitlines()) == 4


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


def test_settings_cannot_be_changed_after_loading():
    with pytest.raises(ValueError, match="frozen"):
        read_settings(LOCAL).cache = False


def test_the_digest_follows_what_a_run_depends_on():
    assert read_settings(LOCAL).digest() == read_settings(LOCAL, ["monitoring.window=month"]).digest()
    assert read_settings(LOCAL).digest() != read_settings(LOCAL, ["model.epochs=9"]).digest()


def test_a_run_records_the_sections_of_the_pipeline_with_what_the_others_decide():
    off, shadow = read_settings(LOCAL), read_settings(LOCAL, ["canary.mode=shadow"])

    assert off.document().keys() == PipelineSettings.model_fields.keys()
    assert off.document()["infra_validation"]["server"] == "operations.serving"
    assert off.document()["push"]["destination"] is None
    assert shadow.document()["push"]["destination"] == shadow.canaries == f"{off.pushed}-canary"
    for settings in (off, shadow):
        recorded = settings_file.from_document(settings.document())
        assert recorded.pushed_to == settings.pushed_to
        assert recorded.digest() == settings.digest()


def test_what_older_runs_recorded_is_read_with_or_without_the_sections_of_others():
    settings = read_settings(LOCAL, ["canary.mode=shadow", "serving.payloads.folder=asked"])
    whole = settings.whole_document()

    assert settings_file.from_document(whole, Settings).whole_document() == whole
    assert settings_file.from_document(whole).spans == settings.spans
    with pytest.raises(SettingsError, match=r"there is no setting `data\.gone`"):
        settings_file.from_document({**whole, "data": {"gone": 1}})


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
