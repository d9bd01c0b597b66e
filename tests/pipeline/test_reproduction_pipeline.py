"""The pipeline that makes a model again: the same up to the model, and without any effect on which model is served."""

import pytest

from flightdeck.settings import read_settings
from pipeline.settings import SettingsError
from tests.world import LOCAL

pytestmark = pytest.mark.component


def compiled(factory: str, *overrides: str):
    from pipeline import definition, node

    ir = node.compile_pipeline(getattr(definition, factory)(read_settings(LOCAL, overrides)))
    return ir, {each.pipeline_node.node_info.id: each.pipeline_node for each in ir.nodes}


@pytest.fixture(scope="module")
def again():
    return compiled("create_reproduction_pipeline", "cache=false")


def test_it_trains_and_measures_and_nothing_else(again):
    _, nodes = again

    assert {"SpanExampleGen", "DataGate", "Transform", "Trainer", "Evaluator"} <= set(nodes)
    assert not {"Tuner", "Champion", "InfraValidator", "Pusher"} & set(nodes)


def test_nothing_is_asked_of_the_model_so_that_nothing_can_be_blessed(again):
    import tensorflow_model_analysis as tfma
    from google.protobuf import json_format

    _, nodes = again
    text = nodes["Evaluator"].parameters.parameters["eval_config"].field_value.string_value
    config = json_format.Parse(text, tfma.EvalConfig())

    assert not tfma.metrics.metric_thresholds_from_metrics_specs(config.metrics_specs, eval_config=config)
    assert "baseline_model" not in nodes["Evaluator"].inputs.inputs


def test_the_models_of_other_pipelines_are_found_by_a_name_that_is_not_its_own(again):
    ir, _ = again
    run, _ = compiled("create_pipeline")

    assert ir.pipeline_info.id == f"{run.pipeline_info.id}-reproduction"


def test_it_does_the_same_as_the_run_up_to_the_model(again):
    _, nodes = again
    _, run = compiled("create_pipeline", "cache=false")

    for name in ("SpanExampleGen", "Transform", "Trainer"):
        ours, theirs = (
            {
                key: value.field_value.string_value or value.runtime_parameter.default_value.string_value
                for key, value in each.parameters.parameters.items()
            }
            for each in (nodes[name], run[name])
        )
        assert ours == theirs


def test_it_begins_with_the_base_model_that_its_run_began_with():
    from pipeline import definition, node

    settings = read_settings(LOCAL, ["cache=false", "training.warm_start=true"])
    ir = node.compile_pipeline(
        definition.create_reproduction_pipeline(settings, "/workspace/artifacts/Trainer/model/7")
    )
    nodes = {each.pipeline_node.node_info.id: each.pipeline_node for each in ir.nodes}

    uri = nodes["BaseModel"].parameters.parameters["artifact_uri"].field_value.string_value
    assert uri == "/workspace/artifacts/Trainer/model/7"
    assert "BaseModel" in nodes["Trainer"].upstream_nodes


def test_it_begins_anew_if_its_run_did():
    _, nodes = compiled("create_reproduction_pipeline", "cache=false", "training.warm_start=true")

    assert "BaseModel" not in nodes


@pytest.mark.parametrize("overrides", [("cache=true",), ("cache=false", "tuning.enabled=true")])
def test_it_neither_reuses_results_nor_searches_again(overrides):
    with pytest.raises(SettingsError, match="neither"):
        compiled("create_reproduction_pipeline", *overrides)
