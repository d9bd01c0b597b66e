"""A compiled pipeline as Kubeflow Pipelines takes it: a file, and what may be changed when it is submitted."""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from operations.delivery.kubeflow_api import KubeflowError

_COMMIT = re.compile(r"[0-9a-f]{12,40}(-dirty-[0-9a-f]{8})?")  # the tag of `flightdeck image build`
# Parameters too, but not ones for people: the pipeline in TFX's representation, its settings, and who submits it.
_OUR_OWN = frozenset({"ir", "settings", "submitted_by"})


@dataclasses.dataclass(frozen=True)
class CompiledPipeline:
    """A pipeline in the form that the server takes.

    Attributes:
        specification: the JSON document of pipeline and platform.
        parameters: what may be given when it is submitted: name -> KFP's name of the type, such as NUMBER_INTEGER.
    """

    name: str
    specification: dict[str, Any]
    parameters: dict[str, str]
    tasks: tuple[str, ...]

    @classmethod
    def load(cls, path: Path) -> CompiledPipeline:
        """Reads what `flightdeck kubeflow compile` wrote.

        Raises:
            KubeflowError: the file cannot be read, or holds something else.
        """
        try:
            documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise KubeflowError(f"The pipeline {path} cannot be read: {error.strerror}.") from None
        except (yaml.YAMLError, UnicodeDecodeError):
            raise KubeflowError(_not_a_pipeline(str(path))) from None
        pipeline, platform = [*documents, None, None][:2]
        return cls.of({"pipeline_spec": pipeline, "platform_spec": platform or {}}, str(path))

    @classmethod
    def of(cls, document: Mapping[str, Any], source: str) -> CompiledPipeline:
        """Reads what the server keeps: pipeline and platform, as in `specification`, or the pipeline alone.

        Raises:
            KubeflowError: it is something else.
        """
        try:
            pipeline = json_format.ParseDict(document.get("pipeline_spec", document), pipeline_spec_pb2.PipelineSpec())
            platform = json_format.ParseDict(document.get("platform_spec") or {}, pipeline_spec_pb2.PlatformSpec())
        except (json_format.ParseError, AttributeError, TypeError):
            raise KubeflowError(_not_a_pipeline(source)) from None
        if not pipeline.pipeline_info.name or not pipeline.root.dag.tasks:
            raise KubeflowError(_not_a_pipeline(source))
        kinds = pipeline_spec_pb2.ParameterType.ParameterTypeEnum
        return cls(
            name=pipeline.pipeline_info.name,
            specification={
                "pipeline_spec": json_format.MessageToDict(pipeline),
                "platform_spec": json_format.MessageToDict(platform),
            },
            parameters={
                name: kinds.Name(declared.parameter_type)
                for name, declared in sorted(pipeline.root.input_definitions.parameters.items())
                if name not in _OUR_OWN
            },
            tasks=tuple(sorted(pipeline.root.dag.tasks)),
        )

    @property
    def commit(self) -> str | None:
        """The commit of the images that its tasks run, as their tags have it; None if they do not say, or differ."""
        executors = self.specification["pipeline_spec"].get("deploymentSpec", {}).get("executors", {})
        images = {executor["container"]["image"] for executor in executors.values() if "container" in executor}
        tags = {image.rpartition("/")[2].partition(":")[2].removesuffix("-gpu") for image in images}
        (tag,) = tags if len(tags) == 1 else ("",)
        return tag if _COMMIT.fullmatch(tag) else None

    def text(self) -> str:
        """The pipeline as a file of YAML: its own document, and the platform's if it has one."""
        documents = [self.specification["pipeline_spec"], self.specification["platform_spec"]]
        return yaml.safe_dump_all([document for document in documents if document], sort_keys=True)

    def submission(self, given: Sequence[str], user: str) -> dict[str, Any]:
        """What it is submitted with: `arguments`, and who submits it, if the pipeline wants to know."""
        arguments = self.arguments(given)
        if "submitted_by" in self.specification["pipeline_spec"]["root"]["inputDefinitions"]["parameters"]:
            arguments["submitted_by"] = user
        return arguments

    def arguments(self, given: Sequence[str]) -> dict[str, Any]:
        """What a person typed as ``name=value``, with the types that the pipeline declares.

        Raises:
            KubeflowError: the pipeline has no such parameter, or the value is not of its type.
        """
        values: dict[str, Any] = {}
        for argument in given:
            name, sign, text = argument.partition("=")
            if not sign or not name:
                raise KubeflowError(f"`--param {argument}` is not of the form name=value, such as epochs=5.")
            if name in values:
                raise KubeflowError(f"The parameter `{name}` is given twice.")
            if name not in self.parameters:
                close = difflib.get_close_matches(name, self.parameters, n=1)
                hint = f"did you mean `{close[0]}`?" if close else f"it has {', '.join(self.parameters)}."
                raise KubeflowError(f"The pipeline {self.name} has no parameter `{name}`; {hint}")
            values[name] = _value(name, self.parameters[name], text)
        return values


def _value(name: str, kind: str, text: str) -> Any:
    if kind == "STRING":
        return text
    try:
        if kind == "NUMBER_INTEGER":
            return int(text)
        if kind == "NUMBER_DOUBLE" and math.isfinite(number := float(text)):
            return number
        if kind == "BOOLEAN":
            return {"true": True, "false": False}[text.lower()]
    except (ValueError, KeyError):
        pass
    wanted = {"NUMBER_INTEGER": "a whole number", "NUMBER_DOUBLE": "a number", "BOOLEAN": "true or false"}
    raise KubeflowError(f"The parameter `{name}` must be {wanted.get(kind, 'left alone')} (got `{text}`).")


def _not_a_pipeline(source: str) -> str:
    return f"{source} is not a compiled pipeline; make one with: flightdeck kubeflow compile -o {source}"
