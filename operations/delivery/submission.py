"""From settings, and what a person typed, to a job for Kubeflow Pipelines."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml

from ledger.recorder import user
from operations.delivery import settings as delivery
from operations.delivery.compiled_pipeline import CompiledPipeline
from operations.delivery.kubeflow import Job, KubeflowPipelines, Version
from operations.delivery.kubeflow_api import KubeflowError
from pipeline.kubeflow_settings import Kubeflow
from pipeline.section import SettingsError
from pipeline.settings import Settings

# Reads a settings file with overrides.
Load = Callable[[Path, Sequence[str]], delivery.Settings]


def kubeflow_settings(
    load: Load, config: Path, overrides: Sequence[str], parameters: Sequence[str] = ()
) -> tuple[delivery.Settings, Kubeflow]:
    """The settings and their section for Kubeflow.

    A parameter stands for a setting, so its value is checked as one now, and not after twenty minutes on the cluster.

    Raises:
        KubeflowError: there is no such section, or a parameter's value does not fit.
        SettingsError: the settings cannot be used.
    """
    settings = load(config, overrides)
    if settings.kubeflow is None:
        raise KubeflowError(f"{config} has no `kubeflow` section; use --config config/kubeflow.yaml.")
    meant = {"window": "data.window", "push": "push.enabled", **settings.kubeflow.parameters}
    given = [parameter.partition("=") for parameter in parameters]
    values = [f"{meant[name]}={_yaml(text)}" for name, sign, text in given if sign and name in meant]
    try:
        load(config, [*overrides, *values])
    except SettingsError as error:
        raise KubeflowError(f"--param: {str(error).removeprefix(f'{config}: ')}") from None
    return settings, settings.kubeflow


def connect(cluster: Kubeflow, token: str | None) -> KubeflowPipelines:
    """A server that has answered.

    Raises:
        KubeflowError: the settings do not say where it is, or it does not answer.
    """
    if not cluster.endpoint:
        raise KubeflowError("kubeflow.endpoint is missing: the address of the KFP API, such as http://localhost:8888.")
    client = KubeflowPipelines(cluster.endpoint, cluster.namespace, (token or "").strip() or None)
    client.check()
    return client


def job(
    settings: Settings,
    source: CompiledPipeline | Version,
    name: str,
    experiment: str | None = None,
    parameters: Sequence[str] = (),
) -> Job:
    """What to submit, with parameters as a person typed them; the default experiment is named after the use case.

    Raises:
        KubeflowError: the pipeline does not take the parameters.
    """
    assert settings.kubeflow is not None
    if isinstance(source, Version):
        compiled = CompiledPipeline.of(source.document, f"The version {source.name}")
        what = source
    else:
        compiled, what = source, source.specification
    return Job(
        what,
        name,
        experiment or settings.kubeflow.experiment or settings.use_case.name,
        compiled.submission(parameters, user() or "unknown"),
        settings.kubeflow.service_account,
    )


def _yaml(text: str) -> str:
    """A parameter's text so that it is the same value in YAML, which takes 1:6 and 1e-3 for something else."""
    try:
        float(text)
    except ValueError:
        return text.lower() if text.lower() in ("true", "false") else json.dumps(text)
    return text if text.lstrip("+-").isdigit() else yaml.safe_dump(float(text)).split()[0]
