"""Makes the code of our components a part of TFX's cache key, so that an edit of a component runs it again."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf import json_format
from tensorflow_model_analysis.proto import config_pb2
from tfx.components import Evaluator
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.base.base_node import BaseNode
from tfx.dsl.components.base.executor_spec import ExecutorClassSpec

from pipeline import fingerprint


def add_fingerprints(nodes: Iterable[BaseNode]) -> None:
    """Gives nodes in which code of ours runs its fingerprint, as a parameter `code` that no executor reads."""
    for node in nodes:
        if isinstance(node, BaseComponent) and (modules := _modules(node)):
            node.exec_properties["code"] = fingerprint.modules_digest(modules)


def _modules(node: BaseComponent) -> set[str]:
    """Our modules that run in a node, without what they import; empty if all of it is TFX's."""
    assert isinstance(node.executor_spec, ExecutorClassSpec)
    modules = {node.executor_spec.executor_class.__module__, node.driver_class.__module__}
    if isinstance(node, Evaluator):
        config = json_format.Parse(node.exec_properties["eval_config"], config_pb2.EvalConfig())
        modules.add(node.exec_properties["module_path"])
        modules.update(metric.module for spec in config.metrics_specs for metric in spec.metrics)
    return {module for module in modules if module.startswith("components.")}
