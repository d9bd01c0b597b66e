"""Settings: what a person can get wrong, and what they are told."""

import operator
import re
from pathlib import Path
from typing import Any

import pytest

from flightdeck.settings import Settings, read_settings
from pipeline import settings_file
from pipeline.section import SettingsError
from pipeline.settings import Settings as PipelineSettings
from tests.world import LOCAL, ROOT

pytestmark = pytest.mark.unit


def refusal(*overrides: str, path: Path = LOCAL) -> str:
    with pytest.raises(SettingsError) as caught:
        read_settings(path, overrides)
    return str(caught.value)


def value(override: str) -> Any:
    return operator.attrgetter(override.partition("=")[0])(read_settings(LOCAL, [override]))


def test_the_shipped_settings_load_and_relative_paths_belong_to_the_project():
    settings = read_settings(LOCAL)

    assert settings.workspace == str(LOCAL.parents[1] / "workspace")
    assert settings.spans == f"{settings.workspace}/spans"
    assert settings.use_case.schema_file.is_file()


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("model.epochs=7", 7),
        ("model.hidden_units=[8, 4]", (8, 4)),
        ("workspace=/elsewhere", "/elsewhere"),
        ("cache=false", False),
        ("cache=True", True),
        # YAML 1.1 would read 1e-3 as text, off as false, and 1:6 as the number 66.
        *((f"model.learning_rate={text}", float(text)) for text in ("0.002", "1e-3", "2.5e-4", ".5")),
        *((f"serving.validation={word}", word) for word in ("off", "flag", "refuse")),
        *((f"data.window={window}", window) for window in ("1:6", "10:12", "newest-5:newest")),
    ],
)
def test_an_override_reaches_a_setting_with_its_type(override, expected):
    assert value(override) == expected


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
        ("serving.keep_version=3", "did you mean `serving.keep_versions`"),
        ("serving.keep_versions=0", "serving.keep_versions"),
        ("serving.payloads.sample=1.5", "serving.payloads.sample"),
        ("serving.port=70000", "serving.port"),
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


@pytest.mark.parametrize(
    ("config", "override", "sentence"),
    [
        (
            "delay",
            "[{name: AUC, at_least: 0.5}]",
            "evaluation.metrics: AUC of TFMA or Keras is no metric of the task regression; choose among RMSE, MAE, R2, "
            "DecileMAE of components.evaluation.value_metrics; RowCount of components.evaluation.row_metrics; Mean",
        ),
        (
            "lateness",
            "[{name: LogLoss, module: components.evaluation.row_metrics, at_most: 1.0}]",
            "LogLoss of components.evaluation.row_metrics is no metric of the task multiclass; choose among Accuracy, "
            "LogLoss,",
        ),
        (
            "lateness",
            "[{name: ClassRecall, module: components.evaluation.class_metrics, at_least: 0.1}]",
            "the first one ranks runs, and ClassRecall has 3 values (recall/on time, recall/late, recall/very late); "
            "put another one before it.",
        ),
        (
            "local",
            "[{name: R2, module: components.evaluation.value_metrics, at_least: 0.1}]",
            "R2 of components.evaluation.value_metrics is no metric of the task binary; choose among RowCount, LogLoss",
        ),
    ],
)
def test_a_metric_of_another_task_is_refused_with_those_to_choose(config, override, sentence):
    assert sentence in refusal(f"evaluation.metrics={override}", path=LOCAL.with_name(f"{config}.yaml"))


def test_a_metric_of_a_module_of_ones_own_is_for_any_task():
    metrics = "evaluation.metrics=[{name: Cost, module: mine.metrics, at_most: 9.0}]"

    assert read_settings(LOCAL.with_name("delay.yaml"), [metrics]).evaluation.metrics[0].name == "Cost"


def test_only_a_probability_has_a_decision_threshold():
    said = refusal("evaluation.decision_threshold=0.4", path=LOCAL.with_name("lateness.yaml"))

    assert said.startswith("evaluation.decision_threshold: a model of the task multiclass does not answer with a prob")


def test_every_problem_is_reported_not_only_the_first():
    assert len(refusal("data.eval_spans=many", "modell=1", "cache=perhaps", "serving.port=x").splitlines()) == 4


def test_a_feature_not_known_at_prediction_time_is_refused_with_the_reason():
    others = ("features.heavy_tailed=[]", "features.missing_indicators=[]", "features.cyclic={}")

    assert re.search("dep_delay.*after departure", refusal("features.numeric=[dep_delay]", *others))


def test_a_slice_on_an_unknown_column_is_refused():
    slices = ("evaluation.slices=[[nowhere]]", "evaluation.gated_slices=[]")

    assert "`nowhere` is not an ingested column" in refusal(*slices)


def sensitive(tmp_path: Path) -> tuple[str, str]:
    """Settings of a contract that extends that of the flights and marks the airport of departure as sensitive."""
    contract = tmp_path / "contract.yaml"
    contract.write_text(
        f"extends: {ROOT / 'data/contract.yaml'}\ncolumns:\n  - {{name: origin, role: slice, sensitive: true}}\n"
    )
    columns = [name for name in read_settings(LOCAL).features.categorical if name != "origin"]
    return f"use_case.contract={contract}", f"features.categorical=[{', '.join(columns)}]"


def test_a_sensitive_column_is_no_feature_and_the_reason_is_said(tmp_path):
    contract, features = sensitive(tmp_path)

    assert "Column 'origin' cannot be a feature: the contract marks it as sensitive" in refusal(contract)
    assert "origin" not in read_settings(LOCAL, [contract, features]).features.inputs


def test_a_gate_of_fairness_names_a_difference_that_is_measured(tmp_path):
    overrides = sensitive(tmp_path)
    gate = "evaluation.fairness={true_positive_rate: 0.1}"

    assert read_settings(LOCAL, [*overrides, gate]).evaluation.fairness == {"true_positive_rate": 0.1}
    assert refusal(*overrides, "evaluation.fairness={mean_error: 1}") == (
        "evaluation.fairness: mean_error is no difference that is measured of the task binary; choose among "
        "selection_rate, true_positive_rate."
    )
    assert "greater than or equal to 0" in refusal(*overrides, "evaluation.fairness={selection_rate: -1}")
    assert refusal(gate).startswith("evaluation.fairness: the contract marks no column as sensitive")


def test_a_missing_file_and_a_file_that_is_not_yaml_are_one_sentence(tmp_path):
    file = tmp_path / "mine.yaml"
    assert refusal(path=file) == f"There is no settings file {file}."
    for content, said in (
        ("a: [1\n", "cannot be read"),
        ("- a\n", "must hold a mapping"),
        ("extends: mine.yaml\n", "cannot extend"),
    ):
        file.write_text(content)
        assert said in refusal(path=file)


def test_a_file_that_extends_another_says_only_what_differs():
    cluster, local = read_settings(LOCAL.with_name("kubeflow.yaml")), read_settings(LOCAL)

    assert (cluster.evaluation, cluster.features) == (local.evaluation, local.features)
    assert cluster.model.epochs == local.model.epochs
    assert (cluster.model.accelerator, local.model.accelerator) == ("required", "auto")


def test_the_service_is_for_this_machine_only_and_logs_into_the_workspace_unless_told_otherwise():
    folder = "serving.payloads.folder"
    settings, told = read_settings(LOCAL, ["workspace=elsewhere"]), read_settings(LOCAL, [f"{folder}=logs/asked"])

    assert settings.serving.host == "127.0.0.1"
    assert settings.payloads == str(LOCAL.parents[1] / "elsewhere" / "payloads")
    assert told.payloads == str(LOCAL.parents[1] / "logs" / "asked")
    assert read_settings(LOCAL, [f"{folder}=gs://bucket/asked"]).payloads == "gs://bucket/asked"


def test_settings_cannot_be_changed_after_loading():
    with pytest.raises(ValueError, match="frozen"):
        read_settings(LOCAL).cache = False


def test_the_digest_follows_what_a_run_depends_on():
    assert read_settings(LOCAL).digest() == read_settings(LOCAL, ["monitoring.window=month"]).digest()
    assert read_settings(LOCAL).digest() != read_settings(LOCAL, ["model.epochs=9"]).digest()


def test_a_run_records_the_sections_of_the_pipeline_with_what_the_others_decide():
    off, shadow = read_settings(LOCAL), read_settings(LOCAL, ["canary.mode=shadow", "model.epochs=7"])
    document = off.document()

    assert document.keys() == PipelineSettings.model_fields.keys()
    assert document["use_case"]["contract"] == "data/contract.yaml"
    assert document["infra_validation"]["server"] == "operations.serving"
    assert document["push"]["destination"] is None
    assert shadow.document()["push"]["destination"] == shadow.canaries == f"{off.pushed}-canary"
    for settings in (off, shadow):
        recorded = settings_file.from_document(settings.document())
        assert (recorded.pushed_to, recorded.model) == (settings.pushed_to, settings.model)
        assert (recorded.document(), recorded.digest()) == (settings.document(), settings.digest())


def test_what_older_runs_recorded_is_read_with_or_without_the_sections_of_others():
    settings = read_settings(LOCAL, ["canary.mode=shadow", "serving.payloads.folder=asked"])
    whole = settings.whole_document()

    assert settings_file.from_document(whole, Settings).whole_document() == whole
    assert settings_file.from_document(whole).spans == settings.spans
    with pytest.raises(SettingsError, match=r"there is no setting `data\.gone`"):
        settings_file.from_document({**whole, "data": {"gone": 1}})


def test_a_settings_file_outside_config_anchors_paths_beside_itself(tmp_path):
    copy = tmp_path / "mine.yaml"
    copy.write_text(LOCAL.read_text().replace(": data/", f": {LOCAL.parents[1]}/data/"))

    assert read_settings(copy).workspace == str(tmp_path / "workspace")


def test_a_bucket_stays_a_bucket():
    settings = read_settings(LOCAL, ["workspace=gs://bucket/flights/"])

    assert settings.artifacts == "gs://bucket/flights/artifacts"
    assert settings.spans == "gs://bucket/flights/spans"
