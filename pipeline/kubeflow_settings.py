"""The section `kubeflow` of the settings: how the pipeline runs on Kubeflow Pipelines, and on what nodes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.section import Section


class Toleration(Section):
    """Lets a pod run on nodes with a taint."""

    key: str = Field(description="Key of the taint.")
    operator: Literal["Exists", "Equal"] = Field(default="Exists", description="Equal compares the value too.")
    value: str = Field(default="", description="Value of the taint, for Equal.")
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = Field(
        default="", description="Effect of the taint; empty: any."
    )


class Resources(Section):
    """Resources of a task, in Kubernetes' units."""

    image: str | None = Field(default=None, description="Default: `kubeflow.image`. The Trainer's may hold CUDA.")
    cpu: str = Field(default="1", description="Reserved cores.")
    cpu_limit: str | None = Field(
        default=None, description="Max cores. Default: no limit, so that idle cores are used."
    )
    memory: str = Field(default="4Gi", description="Reserved memory, which is also the limit.")
    ephemeral_storage: str = Field(default="10Gi", description="Size limit of /tmp.")
    gpus: int = Field(default=0, ge=0, description="Number of GPUs.")
    gpu_type: str = Field(default="nvidia.com/gpu", description="Name of the GPU resource in Kubernetes.")
    node_selector: dict[str, str] = Field(default={}, description="Labels that the node must have.")
    tolerations: tuple[Toleration, ...] = ()
    retries: int = Field(default=2, ge=0, description="Max retries of a failed task.")
    retry_seconds: int = Field(default=30, ge=0, description="Backoff before the first retry; doubles each time.")
    timeout_seconds: int = Field(default=4 * 3600, gt=0, description="Timeout of an attempt.")


class Claim(Section):
    """A PersistentVolumeClaim to mount into every task."""

    name: str = Field(description="Name of the claim.")
    mount: str = Field(description="Folder to mount it at.")


class Kubeflow(Section):
    """How the pipeline runs on Kubeflow Pipelines."""

    image: str = Field(description="The image of `flightdeck image build`, with its tag.")
    endpoint: str | None = Field(default=None, description="Address of the KFP API, such as http://localhost:8888.")
    namespace: str | None = Field(default=None, description="For multi-user Kubeflow.")
    experiment: str | None = Field(default=None, description="Default: the use case's name.")
    service_account: str = Field(default="flightdeck-runner", description="Kubernetes service account of every task.")
    metadata_secret: str = Field(
        default="flightdeck-metadata",
        description="Secret with host, port, database, username and password of the metadata store.",
    )
    pipeline_root: str | None = Field(default=None, description="Where KFP keeps its own artifacts.")
    claim: Claim | None = None
    parameters: dict[str, str] = Field(
        default={"epochs": "model.epochs", "learning_rate": "model.learning_rate"},
        description="Settings of the Trainer that can change on submission: parameter -> setting.",
    )
    groups: dict[str, tuple[str, ...]] = Field(
        default={
            "data": (
                "CuratedSchema",
                "SpanExampleGen",
                "StatisticsGen",
                "SchemaGen",
                "ExampleValidator",
                "DataGate",
                "BaseModel",
            ),
            "release": ("Champion", "Scores", "Evaluator", "InfraValidator", "Pusher"),
        },
        description="Neighbouring nodes that share a task, because every container pays for its own imports.",
    )
    default: Resources = Resources()
    resources: dict[str, Resources] = Field(default={}, description="By node, or by group: overrides `default`.")
