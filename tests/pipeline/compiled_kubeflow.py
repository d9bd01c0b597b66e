"""Pipelines compiled for Kubeflow, as the server reads them. As a program, writes the copy that people review anew."""

import tempfile
from pathlib import Path

import yaml
from google.protobuf import json_format

from flightdeck.settings import Settings, read_settings
from tests.world import ROOT

CONFIG = ROOT / "config" / "kubeflow.yaml"
IMAGE = "registry.example/flightdeck:0123456789ab"
GOLDEN = Path(__file__).parent / "golden" / "kubeflow.yaml"
COMMAND = ".venv/bin/python -m tests.pipeline.compiled_kubeflow"


class Compiled:
    """A compiled pipeline, as the protos that the server parses it into."""

    def __init__(self, path: Path) -> None:
        from kfp.pipeline_spec import pipeline_spec_pb2

        self.path = path
        self.text = path.read_text(encoding="utf-8")
        pipeline, platform = yaml.safe_load_all(self.text)
        self.pipeline = json_format.ParseDict(pipeline, pipeline_spec_pb2.PipelineSpec())
        self.platform = json_format.ParseDict(platform, pipeline_spec_pb2.PlatformSpec())
        self.executors = json_format.ParseDict(
            json_format.MessageToDict(self.pipeline.deployment_spec), pipeline_spec_pb2.PipelineDeploymentConfig()
        ).executors
        self.tasks = self.pipeline.root.dag.tasks
        self.parameters = self.pipeline.root.input_definitions.parameters

    @property
    def ir(self) -> str:
        return self.parameters["ir"].default_value.string_value

    @property
    def reviewable(self) -> str:
        """The text without the TFX pipeline, which holds digests of the code, and without the settings."""
        text = self.text
        for name in ("ir", "settings"):
            text = text.replace(self.parameters[name].default_value.string_value, "left out of this copy")
        return text

    def nodes(self, task: str) -> list[str]:
        """The TFX nodes that a task runs, in order."""
        arguments = list(self.executors[f"exec-{task}"].container.args)
        start = arguments.index("--nodes") + 1
        return arguments[start : arguments.index("--window")]

    def kubernetes(self, task: str):
        """What a task asks of Kubernetes, in kfp-kubernetes' own proto."""
        from kfp.kubernetes import kubernetes_executor_config_pb2 as config

        executors = self.platform.platforms["kubernetes"].deployment_spec.executors
        return json_format.ParseDict(
            json_format.MessageToDict(executors[f"exec-{task}"]), config.KubernetesExecutorConfig()
        )


def shipped(*overrides: str) -> Settings:
    return read_settings(CONFIG, [f"kubeflow.image={IMAGE}", *overrides])


def main() -> None:
    from pipeline.runners import kubeflow

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        kubeflow.compile_pipeline(read_settings(CONFIG), path)
        GOLDEN.write_text(Compiled(path).reviewable, encoding="utf-8")
    print(f"Wrote {GOLDEN.relative_to(Path.cwd())}; review the difference.")


if __name__ == "__main__":
    main()
