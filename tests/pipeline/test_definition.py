"""The definitions: what depends on what, and what making a model again leaves out, before anything runs."""

import json
import re
from typing import get_args

import pytest

from flightdeck.settings import read_settings
from pipeline.section import SettingsError
from tests.world import LOCAL, ROOT

pytestmark = pytest.mark.component
REPRODUCTION = "create_reproduction_pipeline"


def ir_of(*overrides: str, factory: str = "create_pipeline", given=()):
    from pipeline import definition, node

    return node.compile_pipeline(getattr(definition, factory)(read_settings(LOCAL, overrides), *given))


def nodes_of(ir) -> dict:
    return {node.pipeline_node.node_info.id: node.pipeline_node for node in ir.nodes}


@pytest.fixture(scope="module")
def compiled():
    return nodes_of(ir_of())


@pytest.fixture(scope="module")
def again():
    return nodes_of(ir_of("cache=false", factory=REPRODUCTION))


def ancestors(compiled, node_id: str) -> set[str]:
    direct = set(compiled[node_id].upstream_nodes)
    return direct.union(*(ancestors(compiled, above) for above in direct))


def test_nothing_is_learned_before_the_gate(compiled):
    assert "DataGate" in ancestors(compiled, "Transform")
    assert "DataGate" in ancestors(compiled, "Trainer")


def test_a_push_waits_for_both_blessings_and_the_champion_is_resolved_knowing_the_candidate(compiled):
    assert {"Evaluator", "InfraValidator"} <= set(compiled["Pusher"].upstream_nodes)
    assert "Trainer" in compiled["Champion"].upstream_nodes
    for node in ("Scores", "Evaluator"):
        assert {"Trainer", "Champion"} <= set(compiled[node].upstream_nodes)
        assert compiled[node].inputs.inputs["baseline_model"].min_count == 0  # none on the first run
    assert "Scores" in compiled["Evaluator"].upstream_nodes


def test_tuner_and_pusher_are_there_only_when_asked_for(compiled):
    assert "Tuner" not in compiled
    changed = nodes_of(ir_of("tuning.enabled=true", "push.enabled=false"))
    assert "Tuner" in changed
    assert "Pusher" not in changed


def test_a_warm_start_asks_for_a_base_model_and_otherwise_nobody_does(compiled):
    warm = nodes_of(ir_of("training.warm_start=true"))

    assert "SpanExampleGen" in warm["BaseModel"].upstream_nodes
    assert "BaseModel" in warm["Trainer"].upstream_nodes
    assert warm["Trainer"].inputs.inputs["base_model"].min_count == 0  # none on the first run
    assert "BaseModel" not in compiled
    assert "base_model" not in compiled["Trainer"].inputs.inputs


def test_the_shipped_evaluation_runs_in_batches_and_its_thresholds_spare_small_slices():
    from components.evaluation.batched_extracts import why_not_batched
    from pipeline import evaluation

    settings = read_settings(LOCAL)
    config = evaluation.configuration(settings.evaluation, settings.task())

    assert why_not_batched(config) == []
    auc = next(metric for spec in config.metrics_specs for metric in spec.metrics if metric.class_name == "AUC")
    assert not auc.HasField("threshold")
    bounded = {
        tuple(slicing.feature_keys): bound.threshold.value_threshold.lower_bound.value
        for bound in auc.per_slice_thresholds
        for slicing in bound.slicing_specs
    }
    assert bounded == {(): 0.65, ("origin",): 0.55, ("departure_band",): 0.55}


def test_a_metric_of_each_class_has_its_thresholds_on_each():
    from components.evaluation.batched_extracts import why_not_batched
    from pipeline import evaluation

    rules = "{name: ClassRecall, module: components.evaluation.class_metrics, at_least: 0.1, slices_at_least: 0.05}"
    log_loss = "{name: LogLoss, module: components.evaluation.class_metrics, at_most: 1.0}"
    settings = read_settings(LOCAL.with_name("lateness.yaml"), [f"evaluation.metrics=[{log_loss}, {rules}]"])
    config = evaluation.configuration(settings.evaluation, settings.task())

    assert why_not_batched(config) == []
    metrics = [metric for spec in config.metrics_specs for metric in spec.metrics]
    assert [metric.class_name for metric in metrics] == ["LogLoss", *["ClassRecall"] * 3, "ConfusionMatrix"]
    assert [json.loads(metric.config) for metric in metrics[1:4]] == [
        {"name": f"recall/{name}", "number": number} for number, name in enumerate(settings.task().classes)
    ]
    for metric in metrics[1:4]:
        bounds = [bound.threshold.value_threshold.lower_bound.value for bound in metric.per_slice_thresholds]
        assert bounds == [0.1, 0.05]


def test_a_sensitive_column_is_sliced_by_and_its_gate_is_on_the_whole_split(tmp_path, compiled):
    from pipeline import evaluation

    contract = tmp_path / "contract.yaml"
    marks = {"carrier": "sensitive: true", "plane_year": "sensitive: true, groups: [1995, 2005]"}
    columns = "\n".join(f"  - {{name: {name}, role: slice, {mark}}}" for name, mark in marks.items())
    contract.write_text(f"extends: {ROOT / 'data/contract.yaml'}\ncolumns:\n{columns}\n")
    features = read_settings(LOCAL).features
    overrides = [
        f"use_case.contract={contract}",
        *(
            f"features.{field}=[{', '.join(name for name in getattr(features, field) if name not in marks)}]"
            for field in ("numeric", "heavy_tailed", "missing_indicators", "categorical")
        ),
        "evaluation.fairness={selection_rate: 0.1}",
    ]
    settings = read_settings(LOCAL, overrides)
    config = evaluation.configuration(settings.evaluation, settings.task(), settings.contract().sensitive)

    sliced = [tuple(spec.feature_keys) for spec in config.slicing_specs]
    assert sliced.count(("carrier",)) == 1
    assert ("plane_year",) in sliced
    metrics = [metric for metric in config.metrics_specs[0].metrics if metric.module.endswith("fairness_metrics")]
    assert [json.loads(metric.config)["name"] for metric in metrics] == [
        f"fairness/{name}{gate}" for name in ("carrier", "plane_year") for gate in ("", "/selection_rate")
    ]
    for metric in metrics:
        gated = json.loads(metric.config)["name"].endswith("/selection_rate")
        bounds = [
            (
                bound.threshold.value_threshold.upper_bound.value,
                [list(spec.feature_keys) for spec in bound.slicing_specs],
            )
            for bound in metric.per_slice_thresholds
        ]
        assert bounds == ([(0.1, [[]])] if gated else [])
    scores = nodes_of(ir_of(*overrides))["Scores"].parameters.parameters
    assert "plane_year" in scores["columns"].field_value.string_value
    assert json.loads(scores["groups"].field_value.string_value) == {
        "plane_year": [[1995, 2005], ["under 1995", "1995 to under 2005", "2005 or more"]]
    }
    # A text may have thousands of values, unless the contract lists them.
    unlisted = [column.model_copy(update={"values": None}) for column in settings.contract().sensitive]
    bare = settings.evaluation.model_copy(update={"slices": ()})
    assert evaluation.slices(bare, unlisted) == (("plane_year",),)
    assert "groups" not in compiled["Scores"].parameters.parameters
    assert evaluation.configuration(settings.evaluation.metrics_only(), settings.task(), settings.contract().sensitive)


def test_a_compiled_pipeline_is_the_same_wherever_beam_runs():
    from pipeline import node

    flink = "beam={engine: flink, flink: {job_endpoint: 'jobs:8099'}, components: {Evaluator: [--runner=SparkRunner]}}"
    assert node.encode(ir_of(flink)) == node.encode(ir_of())


def test_settings_and_page_about_beam_name_the_components_that_run_on_it():
    from tfx.dsl.components.base.base_beam_component import BaseBeamComponent

    from pipeline import definition
    from pipeline.beam_settings import BeamComponent

    settings = read_settings(LOCAL)
    inference = definition.create_inference_pipeline(settings, 1, {"carrier": "string"}, ["probability"])
    components = [*definition.create_pipeline(settings).components, *inference.components]

    named = (ROOT / "docs" / "beam.md").read_text().partition(" run on Beam")[0].splitlines()[-1]
    on_beam = {on.id for on in components if isinstance(on, BaseBeamComponent)}
    assert set(re.findall(r"[A-Z]\w+", named)) == set(get_args(BeamComponent)) == on_beam


def test_an_answer_is_written_beside_the_column_that_is_called_like_it():
    from pipeline import definition

    settings = read_settings(LOCAL)
    columns = {"value": "float32", "carrier": "string"}
    nodes = definition.create_inference_pipeline(settings, 1, columns, ["value", "leaf"]).components
    (inferrer,) = [node for node in nodes if node.id == "BulkInferrer"]
    written = json.loads(inferrer.spec.exec_properties["output_example_spec"])["output_columns_spec"][0]
    assert written["predict_output"]["output_columns"] == [
        {"output_key": "value", "output_column": "predicted_value"},
        {"output_key": "leaf", "output_column": "leaf"},
    ]


def test_a_reproduction_trains_and_measures_and_nothing_else_under_a_name_of_its_own(again):
    assert {"SpanExampleGen", "DataGate", "Transform", "Trainer", "Evaluator"} <= set(again)
    assert not {"Tuner", "Champion", "InfraValidator", "Pusher"} & set(again)
    # By its name TFX finds the models of other pipelines.
    names = [ir_of("cache=false", factory=factory).pipeline_info.id for factory in ("create_pipeline", REPRODUCTION)]
    assert names == ["late-flights", "late-flights-reproduction"]


def test_nothing_is_asked_of_a_reproduced_model_so_that_nothing_can_be_blessed(again):
    import tensorflow_model_analysis as tfma
    from google.protobuf import json_format

    text = again["Evaluator"].parameters.parameters["eval_config"].field_value.string_value
    config = json_format.Parse(text, tfma.EvalConfig())

    assert not tfma.metrics.metric_thresholds_from_metrics_specs(config.metrics_specs, eval_config=config)
    assert "baseline_model" not in again["Evaluator"].inputs.inputs


@pytest.mark.parametrize("name", ["SpanExampleGen", "Transform", "Trainer"])
def test_a_reproduction_does_the_same_as_the_run_up_to_the_model(compiled, again, name):
    ours, theirs = (
        {
            key: value.field_value.string_value or value.runtime_parameter.default_value.string_value
            for key, value in nodes[name].parameters.parameters.items()
        }
        for nodes in (again, compiled)
    )
    assert ours == theirs


def test_a_reproduction_begins_with_the_base_model_that_its_run_began_with_or_anew():
    warm, model = ("cache=false", "training.warm_start=true"), "/workspace/artifacts/Trainer/model/7"

    nodes = nodes_of(ir_of(*warm, factory=REPRODUCTION, given=(model,)))

    assert nodes["BaseModel"].parameters.parameters["artifact_uri"].field_value.string_value == model
    assert "BaseModel" in nodes["Trainer"].upstream_nodes
    assert "BaseModel" not in nodes_of(ir_of(*warm, factory=REPRODUCTION))


@pytest.mark.parametrize("overrides", [("cache=true",), ("cache=false", "tuning.enabled=true")])
def test_a_reproduction_neither_reuses_results_nor_searches_again(overrides):
    with pytest.raises(SettingsError, match="neither"):
        ir_of(*overrides, factory=REPRODUCTION)


def edited(monkeypatch, tmp_path, module: str) -> None:
    """Has a module of ours read as if somebody had edited it."""
    from pipeline import fingerprint

    origin = fingerprint._origin
    file = tmp_path / "edited.py"
    file.write_text(f"{origin(module).read_text()}# edited\n")
    monkeypatch.setattr(fingerprint, "_origin", lambda name: file if name == module else origin(name))


@pytest.mark.parametrize(
    ("module", "run_again"),
    [
        ("components.data_gate.report", {"DataGate"}),
        ("components.curated_schema", {"CuratedSchema"}),
        ("components.span_example_gen.driver", {"SpanExampleGen"}),
        ("components.infra_validator.probe", {"InfraValidator"}),
        ("components.evaluation.batched_extracts", {"Evaluator"}),
        ("components.evaluation.row_metrics", {"Evaluator"}),
        ("components.evaluation.class_metrics", set()),
        ("components.tasks", {"Scores", "InfraValidator"}),
        (
            "components.examples",
            {"SpanExampleGen", "StatisticsGen", "Transform", "Scores", "Evaluator", "InfraValidator"},
        ),
    ],
)
def test_an_edit_of_a_component_is_a_change_of_the_nodes_that_use_it_alone(
    compiled, monkeypatch, tmp_path, module, run_again
):
    edited(monkeypatch, tmp_path, module)

    now = nodes_of(ir_of())

    changed = {node for node in compiled if now[node].parameters != compiled[node].parameters}
    assert changed == run_again
