"""The definition: what depends on what, before anything runs."""

import re

import pytest

from flightdeck.settings import read_settings
from pipeline.settings import SettingsError
from tests.world import LOCAL, ROOT

pytestmark = pytest.mark.component


@pytest.fixture(scope="module")
def compiled():
    """The intermediate representation of the shipped settings: node id -> node."""
    from pipeline import node
    from pipeline.definition import create_pipeline

    ir = node.compile_pipeline(create_pipeline(read_settings(LOCAL)))
    return {each.pipeline_node.node_info.id: each.pipeline_node for each in ir.nodes}


def ancestors(compiled, node_id: str) -> set[str]:
    direct = set(compiled[node_id].upstream_nodes)
    return direct.union(*(ancestors(compiled, each) for each in direct))


def test_nothing_is_learned_before_the_gate(compiled):
    assert "DataGate" in ancestors(compiled, "Transform")
    assert "DataGate" in ancestors(compiled, "Trainer")


def test_a_push_waits_for_both_blessings(compiled):
    assert {"Evaluator", "InfraValidator"} <= set(compiled["Pusher"].upstream_nodes)


def test_the_champion_is_resolved_knowing_the_candidate(compiled):
    assert "Trainer" in compiled["Champion"].upstream_nodes
    assert {"Trainer", "Champion"} <= set(compiled["Evaluator"].upstream_nodes)


def test_tuner_and_pusher_are_there_only_when_asked_for():
    from pipeline import node
    from pipeline.definition import create_pipeline

    def nodes(*overrides: str) -> list[str]:
        return node.node_ids(node.compile_pipeline(create_pipeline(read_settings(LOCAL, overrides))))

    assert "Tuner" not in nodes()
    assert "Tuner" in nodes("tuning.enabled=true")
    assert "Pusher" not in nodes("push.enabled=false")


def test_a_warm_start_asks_for_a_base_model_and_otherwise_nobody_does(compiled):
    from pipeline import node
    from pipeline.definition import create_pipeline

    ir = node.compile_pipeline(create_pipeline(read_settings(LOCAL, ["training.warm_start=true"])))
    warm = {each.pipeline_node.node_info.id: each.pipeline_node for each in ir.nodes}

    assert "SpanExampleGen" in warm["BaseModel"].upstream_nodes
    assert "BaseModel" in warm["Trainer"].upstream_nodes
    assert warm["Trainer"].inputs.inputs["base_model"].min_count == 0  # none on the first run
    assert "BaseModel" not in compiled
    assert "base_model" not in compiled["Trainer"].inputs.inputs


def test_the_shipped_evaluation_runs_in_batches_and_its_thresholds_spare_small_slices():
    from components.evaluation.batched_extracts import why_not_batched
    from pipeline import evaluation

    settings = read_settings(LOCAL)
    config = evaluation.configuration(settings.evaluation, settings.contract().label)

    assert why_not_batched(config) == []
    auc = next(metric for spec in config.metrics_specs for metric in spec.metrics if metric.class_name == "AUC")
    assert not auc.HasField("threshold")
    bounded = {
        tuple(slicing.feature_keys): each.threshold.value_threshold.lower_bound.value
        for each in auc.per_slice_thresholds
        for slicing in each.slicing_specs
    }
    assert bounded == {(): 0.65, ("origin",): 0.55, ("departure_band",): 0.55}


def test_the_pipeline_does_not_depend_on_where_the_checkout_is(compiled):
    parameters = compiled["CuratedSchema"].parameters.parameters

    assert parameters["schema_file"].field_value.string_value == "data/schema.pbtxt"


def test_a_component_can_run_on_another_beam_runner_than_the_rest():
    from tfx.orchestration.local import runner_utils

    from pipeline import node
    from pipeline.definition import create_pipeline

    flink = "[--runner=FlinkRunner, '--flink_master=flink:8081']"
    settings = read_settings(LOCAL, [f"beam.components={{StatisticsGen: {flink}}}"])
    ir = node.compile_pipeline(create_pipeline(settings))
    deployment = runner_utils.extract_local_deployment_config(ir)

    def arguments(node_id: str) -> list[str]:
        values = runner_utils.extract_executor_spec(deployment, node_id).beam_pipeline_args_placeholders
        return [each.value.string_value for each in values]

    assert arguments("StatisticsGen") == ["--runner=FlinkRunner", "--flink_master=flink:8081"]
    assert arguments("Transform") == list(settings.beam.args)


def test_other_beam_arguments_for_a_component_without_beam_are_refused():
    from pipeline.definition import create_pipeline

    with pytest.raises(SettingsError, match="Trainer does not run on Beam; choose among SpanExampleGen, StatisticsGen"):
        create_pipeline(read_settings(LOCAL, ["beam.components={Trainer: [--runner=DataflowRunner]}"]))


def test_the_page_about_beam_names_the_components_that_run_on_it():
    from tfx.dsl.components.base.base_beam_component import BaseBeamComponent

    from pipeline import definition

    settings = read_settings(LOCAL)
    pipelines = definition.create_pipeline(settings), definition.create_inference_pipeline(settings, 1)
    parallel = {each.id for made in pipelines for each in made.components if isinstance(each, BaseBeamComponent)}

    told = (ROOT / "docs" / "beam.md").read_text().partition(" run on Beam")[0].splitlines()[-1]
    assert set(re.findall(r"[A-Z]\w+", told)) == parallel
