"""Where Beam runs: the arguments that come of the settings, and the settings that are refused."""

import shlex

import pytest

from flightdeck.settings import read_settings
from pipeline.beam_settings import Beam
from pipeline.section import SettingsError
from tests.world import LOCAL, ROOT

pytestmark = pytest.mark.unit
FLINK = "beam.flink={job_endpoint: 'jobs:8099', parallelism: 4, workers_per_task_manager: 2}"


def beam(*overrides: str) -> Beam:
    return read_settings(LOCAL, overrides).beam


def test_an_engine_becomes_arguments_that_beam_understands():
    from apache_beam.options import pipeline_options as options

    given = beam(FLINK, "beam.flink.artifact_endpoint=jobs:8098", "beam.engine=flink").arguments("Transform")

    view = options.PipelineOptions(list(given))
    portable, flink = view.view_as(options.PortableOptions), view.view_as(options.FlinkRunnerOptions)
    assert (portable.job_endpoint, portable.artifact_endpoint) == ("jobs:8099", "jobs:8098")
    assert (portable.environment_type, portable.environment_config) == ("EXTERNAL", "localhost:50000")
    assert (portable.sdk_worker_parallelism, portable.environment_cache_millis) == ("2", "30000")
    assert flink.parallelism == 4
    assert set(view.get_all_options(drop_default=True, retain_unknown_options=True)) == {
        *("runner", "job_endpoint", "artifact_endpoint", "environment_type", "environment_config", "parallelism"),
        *("sdk_worker_parallelism", "environment_cache_millis", "sdk_container_image", "experiments"),
    }


def test_single_components_can_have_an_engine_or_arguments_of_their_own():
    some = beam(FLINK, "beam.components={StatisticsGen: flink, BulkInferrer: [--runner, DataflowRunner]}")

    assert some.arguments("StatisticsGen") == beam(FLINK, "beam.engine=flink").arguments()
    assert some.arguments("BulkInferrer") == ("--runner", "DataflowRunner")
    assert some.arguments("Transform") == some.arguments() == Beam().args
    engines = {name: some.engine_of(name) for name in ("StatisticsGen", "BulkInferrer", "Transform", "Trainer")}
    assert engines == {
        "StatisticsGen": "flink", "BulkInferrer": "DataflowRunner", "Transform": "local", "Trainer": None
    }  # fmt: skip
    assert beam(FLINK, "beam.engine=flink", "beam.components={Evaluator: local}").engine_of("Evaluator") == "local"


def test_a_component_can_have_values_of_its_own_on_the_same_cluster():
    own = beam(FLINK, "beam.components={Evaluator: {parallelism: 8, environment_cache_millis: 0}}")

    assert own.engine_of("Evaluator") == "flink"
    assert own.arguments("Evaluator") == beam(
        FLINK, "beam.flink.parallelism=8", "beam.flink.environment_cache_millis=0", "beam.engine=flink"
    ).arguments("Evaluator")
    assert own.arguments("Transform") == Beam().args
    others = beam(FLINK, "beam.engine=flink", "beam.components={Evaluator: {workers_per_task_manager: 3}}")
    assert "--parallelism=4" in others.arguments("Evaluator")
    assert "--sdk_worker_parallelism=3" in others.arguments("Evaluator")
    assert "--sdk_worker_parallelism=2" in others.arguments("Transform")
    assert Beam.model_validate_json(own.model_dump_json()) == own


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["beam.engine=flink"], "the engine `flink` needs flink.job_endpoint"),
        (["beam.components={Transform: flink}"], "the engine `flink` needs flink.job_endpoint"),
        ([FLINK, "beam.engine=flink", "beam.args=[--runner=DataflowRunner]"], "both engine `flink` and args are given"),
        (["beam.flink={job_endpoint: jobs}"], "`beam.flink.job_endpoint`: it must be HOST:PORT"),
        (["beam.flink={job_endpoint: 'http://jobs:8099'}"], "`beam.flink.job_endpoint`: it must be HOST:PORT"),
        (["beam.components={ExampleValidator: local}"], "beam.components.ExampleValidator"),
        (["beam.engine=spark"], "beam.engine"),
        (
            ["beam.components={Transform: spark}"],
            "`beam.components.Transform`: input should be 'local' or 'flink'",
        ),
        (["beam.components={Transform: {parallelism: 8}}"], "the engine `flink` needs flink.job_endpoint"),
        (
            [FLINK, "beam.components={Transform: {parallelism: 0}}"],
            "`beam.components.Transform.parallelism`: input",
        ),
        ([FLINK, "beam.components={Transform: {}}"], "nothing differs from `beam.flink`; give parallelism or another"),
        (
            [FLINK, "beam.components={Transform: {job_endpoint: 'other:8099'}}"],
            "there is no setting `beam.components.Transform.job_endpoint`",
        ),
    ],
)
def test_what_cannot_be_run_is_one_sentence(overrides, sentence):
    with pytest.raises(SettingsError) as refused:
        beam(*overrides)
    assert sentence in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_the_shipped_settings_for_flink_run_all_of_beam_there():
    shipped = read_settings(ROOT / "config" / "flink.yaml").beam

    assert shipped.engine_of("Transform") == shipped.engine_of("BulkInferrer") == "flink"
    assert shlex.join(shipped.arguments()).startswith("--runner=pipeline.engine.JobServerRunner --job_endpoint=")
