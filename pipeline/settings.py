"""Typed, frozen, strict settings of the pipeline: everything a run depends on besides code and data.

What happens after a run has sections of its own, beside the code that reads them; `flightdeck.settings` composes the
file. Neither this module nor `pipeline.settings_file`, which reads files, imports TensorFlow or TFX.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PrivateAttr,
    Tag,
    ValidationInfo,
    model_validator,
)

import storage
from components import tasks
from data.contract import Contract
from errors import FlightdeckError
from ledger.directions import reported
from pipeline.project import CHECKOUT

Engine = Literal["local", "flink"]
BeamComponent = Literal["SpanExampleGen", "StatisticsGen", "Transform", "Evaluator", "BulkInferrer"]
_ENDPOINT = re.compile(r"([^\s:/\[\]]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}")
_RUNNER = re.compile(r"--runner[= ](\S+)")
DOTTED_PATH = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$"
DottedPath = Annotated[str, Field(pattern=DOTTED_PATH)]


def _absolute(location: str, info: ValidationInfo) -> str:
    if "://" in location:
        return location.rstrip("/")
    return location if info.context is None else str(info.context / Path(location).expanduser())


def _in_project(path: Path, info: ValidationInfo) -> Path:
    return path if info.context is None else info.context / path


def _endpoint(address: str) -> str:
    if not _ENDPOINT.fullmatch(address):
        raise ValueError("it must be HOST:PORT")
    return address


# A folder, or a URI such as gs://bucket. A relative one is below the project's folder, which validation is given as its
# context; and so is a file of the project.
Location = Annotated[str, AfterValidator(_absolute)]
Endpoint = Annotated[str, AfterValidator(_endpoint)]  # with an address of IPv6 in brackets
ProjectFile = Annotated[Path, AfterValidator(_in_project)]


class SettingsError(FlightdeckError):
    """Settings that cannot be used; the text is one sentence per problem."""


class Section(BaseModel):
    """A part of the settings: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, protected_namespaces=())


class UseCase(Section):
    """Where the use case lives; everything else serves any dataset."""

    name: str = Field(
        pattern=r"^[a-z][a-z0-9-]{0,39}$", description="Name of the use case, its pipeline and its pushed model."
    )
    contract: ProjectFile = Field(description="Columns of the dataset, and when each becomes known.")
    schema_file: ProjectFile = Field(description="Curated TFDV schema for validation.")
    prepare: DottedPath = Field(description="Function (destination, progress=…) that writes the spans.")
    features: DottedPath = Field(
        description="Settings class of the `features` section; its `check(contract)` refuses wrong ones."
    )
    model: DottedPath = Field(
        description="Settings class of the `model` section; its `check(contract)` refuses wrong ones."
    )
    preprocessing_fn: DottedPath = Field(description="Transform's preprocessing function.")
    run_fn: DottedPath = Field(description="The Trainer's function.")
    tuner_fn: DottedPath = Field(description="The Tuner's function.")
    model_card: ProjectFile | None = Field(
        default=None, description="Purpose and limits of the model: Markdown, for the report."
    )

    def dotted_paths(self) -> tuple[str, ...]:
        """The code of the use case."""
        return (self.prepare, self.features, self.model, self.preprocessing_fn, self.run_fn, self.tuner_fn)


class Data(Section):
    """The data of a run."""

    spans: Location | None = Field(default=None, description="Folder of spans; default: `spans` in the workspace.")
    window: str = Field(
        default="oldest:newest", description="FIRST:LAST span; a number, `oldest`, `newest` or `newest-K`."
    )
    eval_spans: int = Field(default=1, ge=1, description="Number of newest spans in the evaluation split.")


class Gate(Section):
    """When DataGate stops a run."""

    severity: Literal["error", "warning", "never"] = Field(
        default="error", description="Lowest severity of an anomaly that stops a run."
    )


class Metric(Section):
    """A metric of the evaluation, with its thresholds."""

    RULES: ClassVar[tuple[str, ...]] = ("at_least", "at_most", "may_lose", "slices_at_least", "slices_may_lose")

    name: str = Field(description="Class name of a TFMA or Keras metric, such as AUC.")
    module: str = Field(default="", description="Module of the class, unless it is TFMA or Keras.")
    better: Literal["higher", "lower", "neither"] = Field(
        default="neither", description="Which values are better; comparisons need it."
    )
    at_least: float | None = Field(
        default=None, description="Minimum for the challenger, whatever the champion reaches."
    )
    at_most: float | None = Field(default=None, description="Maximum for the challenger.")
    may_lose: float | None = Field(
        default=None, ge=0, description="How much worse than the champion it may be on the same data."
    )
    slices_at_least: float | None = Field(default=None, description="Minimum for each slice.")
    slices_may_lose: float | None = Field(default=None, ge=0, description="As `may_lose`, for each slice.")

    @model_validator(mode="after")
    def _comparison_needs_a_direction(self) -> Self:
        if self.better == "neither" and (self.may_lose is not None or self.slices_may_lose is not None):
            raise ValueError(f"metric {self.name} has `may_lose`, so `better` must be `higher` or `lower`")
        return self

    @property
    def reported(self) -> str:
        """Its name in the output of TFMA."""
        return reported(self.name)

    def parts(self, task: tasks.Task) -> dict[str, dict[str, Any]]:
        """The single metrics that it is, one or as many as there are classes: reported name -> TFMA's configuration."""
        return task.parts(self.name) or {self.reported: {}}

    def bounds(self) -> dict[str, float]:
        """Its thresholds: rule -> bound."""
        return {rule: bound for rule in self.RULES if (bound := getattr(self, rule)) is not None}


class Evaluation(Section):
    """How a challenger is evaluated."""

    slices: tuple[tuple[str, ...], ...] = Field(default=(), description="Columns, or crosses of columns, to slice by.")
    gated_slices: tuple[tuple[str, ...], ...] = Field(
        default=(), description="Slices to which the thresholds for slices apply."
    )
    metrics: tuple[Metric, ...] = Field(min_length=1)
    min_slice_size: int = Field(
        default=100,
        ge=1,
        description="Minimum rows of a slice to be shown among the worst, and of a group of people to be compared.",
    )
    decision_threshold: float = Field(
        default=0.5, gt=0, lt=1, description="Of the task binary: minimum probability that reports count as positive."
    )
    fairness: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default={},
        description="Largest difference between the groups of a sensitive column with which a model is blessed, by "
        "measure: `selection_rate` and `true_positive_rate`, or `mean_error` of numbers. A model is refused if all of "
        "the 95 % interval of a difference is above it. Groups of fewer than `min_slice_size` rows are not compared.",
    )
    importance_rows: int = Field(
        default=5000,
        ge=0,
        description="Number of rows on which to measure the importance of columns; 0 switches it off.",
    )

    @model_validator(mode="after")
    def _something_can_fail(self) -> Self:
        # An Evaluator without any threshold writes no blessing at all, and nothing would ever be pushed.
        if all(metric.at_least is None and metric.at_most is None for metric in self.metrics):
            raise ValueError("at least one metric needs `at_least` or `at_most`, or no model could ever be blessed")
        if missing := [gated for gated in self.gated_slices if gated not in self.slices]:
            raise ValueError(f"gated_slices {missing} are not among the slices")
        return self

    def metrics_only(self) -> Evaluation:
        """The same metrics on the same slices, with nothing asked of the model; TFX then writes no blessing."""
        metrics = tuple(metric.model_copy(update=dict.fromkeys(Metric.RULES)) for metric in self.metrics)
        return self.model_copy(update={"gated_slices": (), "metrics": metrics, "fairness": {}, "importance_rows": 0})


class InfraValidation(Section):
    """How a candidate proves that it can serve."""

    requests: int = Field(
        default=32, ge=1, description="Number of real examples sent to the candidate in a fresh process."
    )
    server: str = Field(
        default="",
        description="Python module of the server that must serve it; empty: TensorFlow alone, without a server.",
    )
    load_seconds: float = Field(default=120.0, gt=0, description="Timeout for loading.")
    answer_seconds: float = Field(default=30.0, gt=0, description="Timeout of a request.")


class Tuning(Section):
    """The search for hyperparameters before training."""

    enabled: bool = Field(default=False, description="Put a Tuner before the Trainer.")


class Training(Section):
    """How training starts."""

    warm_start: bool = Field(
        default=False,
        description="Start with the weights of the newest blessed model that has learned neither from these examples "
        "nor from the evaluation split; false starts from scratch.",
    )


class Push(Section):
    """Where blessed models go."""

    enabled: bool = Field(default=True, description="Push blessed models.")
    destination: Location | None = Field(
        default=None, description="Folder of numbered versions; default: `models/NAME` in the workspace."
    )
    keep: int | None = Field(
        default=None,
        ge=1,
        description="Number of newest versions to keep after a push, and for `flightdeck models prune`; the served "
        "one, the champion and the target of a rollback always stay. Default: all.",
    )


class Metadata(Section):
    """Where ML Metadata records runs."""

    kind: Literal["sqlite", "mysql"] = Field(
        default="sqlite", description="A file of the workspace, or a server whose address is in the environment."
    )
    retries: int = Field(default=5, ge=0, description="Number of retries when a server does not answer.")


class Flink(Section):
    """A Flink cluster behind a Beam job server, or any other job server that speaks Beam's Job API."""

    job_endpoint: Endpoint = Field(description="HOST:PORT of the Beam job server.")
    artifact_endpoint: Endpoint | None = Field(
        default=None, description="HOST:PORT to stage files at; default: what the job server says."
    )
    parallelism: int = Field(default=1, ge=1, description="Number of parallel parts of a job: the slots that it takes.")
    environment_type: Literal["EXTERNAL", "PROCESS"] = Field(
        default="EXTERNAL",
        description="How a TaskManager gets Python workers: from a worker pool, or as its own processes.",
    )
    environment_config: str = Field(
        default="localhost:50000",
        description="Of EXTERNAL: HOST:PORT of the worker pool as each TaskManager sees it, one pool per TaskManager. "
        'Of PROCESS: {"command": SCRIPT}.',
    )
    workers_per_task_manager: int = Field(
        default=1, ge=1, description="Number of Python processes of a TaskManager, such as one per slot."
    )
    environment_cache_millis: int = Field(
        default=30_000, ge=0, description="How long an idle worker is kept for the next stage; 0 starts one per stage."
    )

    def arguments(self) -> tuple[str, ...]:
        """The Beam arguments that run a pipeline there."""
        return (
            # Not FlinkRunner, which is the same with a job endpoint, but cannot cancel a job when it is interrupted.
            "--runner=pipeline.engine.JobServerRunner",
            f"--job_endpoint={self.job_endpoint}",
            *([f"--artifact_endpoint={self.artifact_endpoint}"] if self.artifact_endpoint else []),
            f"--environment_type={self.environment_type}",
            f"--environment_config={self.environment_config}",
            f"--parallelism={self.parallelism}",
            f"--sdk_worker_parallelism={self.workers_per_task_manager}",
            f"--environment_cache_millis={self.environment_cache_millis}",
            "--sdk_container_image=none",
            # Or each job runs pip, to stage a list of the packages here.
            "--experiments=disable_logging_submission_environment",
        )


class FlinkJobs(Section):
    """What the jobs of one component have of their own; the rest is as `beam.flink` says."""

    parallelism: int | None = Field(default=None, ge=1, description="As in `beam.flink`.")
    workers_per_task_manager: int | None = Field(default=None, ge=1, description="As in `beam.flink`.")
    environment_cache_millis: int | None = Field(default=None, ge=0, description="As in `beam.flink`.")

    @model_validator(mode="after")
    def _something_differs(self) -> Self:
        if not self.model_dump(exclude_none=True):
            raise ValueError("nothing differs from `beam.flink`; give parallelism or another value, or write `flink`")
        return self


def _kind_of_engine(value: Any) -> str:
    """Which of its forms a value of `beam.components` has, so that only what is wrong with that one is said.

    In brackets, which `pipeline.settings_file` leaves out of the key.
    """
    return (
        "<jobs>" if isinstance(value, dict | FlinkJobs) else "<args>" if isinstance(value, list | tuple) else "<name>"
    )


# Of a single component: an engine by its name, the engine `flink` with other values, or arguments of Beam.
ComponentEngine = Annotated[
    Annotated[Engine, Tag("<name>")] | Annotated[FlinkJobs, Tag("<jobs>")] | Annotated[tuple[str, ...], Tag("<args>")],
    Discriminator(_kind_of_engine),
]


class Beam(Section):
    """Where the data-parallel components run; by default in the process of their node.

    It is no part of a cache key: results are reused whatever engine made them.
    """

    engine: Engine = Field(
        default="local",
        description="`local`: as `args` say, by default in the node's process; `flink`: as `flink` says.",
    )
    flink: Flink | None = Field(default=None, description="The cluster of the engine `flink`.")
    args: tuple[str, ...] = Field(
        # Not DirectRunner: it tries to download another runner in every component. In memory: threads cost 45 % more
        # CPU and gain nothing. No SDK container: or each component builds a source distribution of this project.
        default=("--runner=FnApiRunner", "--direct_running_mode=in_memory", "--sdk_container_image=none"),
        description="Beam arguments of the engine `local`; they can name any other runner, such as Dataflow.",
    )
    components: dict[BeamComponent, ComponentEngine] = Field(
        default={},
        description="Of single components: node -> another engine, its arguments, or values of `flink` that differ.",
    )

    @model_validator(mode="after")
    def _one_engine(self) -> Self:
        if self.engine == "flink" and self.args != type(self).model_fields["args"].default:
            raise ValueError("both engine `flink` and args are given; leave one out, since args are another engine's")
        on_flink = [chosen for chosen in (self.engine, *self.components.values()) if _on_flink(chosen)]
        if self.flink is None and on_flink:
            raise ValueError("the engine `flink` needs flink.job_endpoint, the HOST:PORT of its Beam job server")
        return self

    def arguments(self, component: str | None = None) -> tuple[str, ...]:
        """The Beam arguments of a component; without one, of all that have no engine or arguments of their own."""
        if (flink := self.flink_of(component)) is not None:
            return flink.arguments()
        chosen = self._chosen(component)
        return chosen if isinstance(chosen, tuple) else self.args

    def flink_of(self, component: str | None = None) -> Flink | None:
        """The cluster as a component uses it; without one, as all others do; None: not at all."""
        chosen = self._chosen(component)
        if self.flink is None or not _on_flink(chosen):
            return None
        own = chosen.model_dump(exclude_none=True) if isinstance(chosen, FlinkJobs) else {}
        return self.flink.model_copy(update=own)

    def engine_of(self, component: str) -> str | None:
        """What a component runs on: ``local``, ``flink``, or the Beam runner that its arguments name; None: no Beam."""
        if component not in get_args(BeamComponent):
            return None
        if _on_flink(self._chosen(component)):
            return "flink"
        named = _RUNNER.search(" ".join(self.arguments(component)))
        return "local" if named is None or named[1] == "FnApiRunner" else named[1]

    def _chosen(self, component: str | None) -> ComponentEngine:
        for name, chosen in self.components.items():
            if name == component:
                return chosen
        return self.engine


def _on_flink(chosen: ComponentEngine) -> bool:
    return chosen == "flink" or isinstance(chosen, FlinkJobs)


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


class Settings(Section):
    """Everything a run depends on besides code and data.

    Packages above extend this class with the sections that they read.
    """

    use_case: UseCase
    workspace: Location = Field(
        default="workspace",
        validate_default=True,
        description="Folder, or URI such as gs://bucket/path, for everything that a run writes.",
    )
    data: Data = Data()
    gate: Gate = Gate()
    features: Any = Field(description="Defined by `use_case.features`.")
    tuning: Tuning = Tuning()
    training: Training = Training()
    model: Any = Field(description="Defined by `use_case.model`.")
    evaluation: Evaluation
    infra_validation: InfraValidation = InfraValidation()
    push: Push = Push()
    metadata: Metadata = Metadata()
    beam: Beam = Beam()
    kubeflow: Kubeflow | None = None
    cache: bool = Field(
        default=True, description="Reuse results of nodes whose inputs, settings and code are unchanged."
    )

    # Where the use case lives. Not a setting: it is where the settings were found.
    _project: Path = PrivateAttr(default=CHECKOUT)

    @property
    def project(self) -> Path:
        """The folder of the use case: this checkout, or the project that uses it."""
        return self._project

    @property
    def spans(self) -> str:
        """The folder that holds span-001, span-002 and so on."""
        return self.data.spans or f"{self.workspace}/spans"

    @property
    def artifacts(self) -> str:
        """TFX's pipeline root."""
        return f"{self.workspace}/artifacts"

    @property
    def pushed(self) -> str:
        """The folder of numbered, immutable model versions that servers read."""
        return self.push.destination or f"{self.workspace}/models/{self.use_case.name}"

    @property
    def pushed_to(self) -> str:
        """Where runs push. An extension may choose another folder than the served one."""
        return self.pushed

    @property
    def metadata_file(self) -> Path:
        """The file of ML Metadata, if it is of the kind sqlite."""
        return Path(self.workspace) / "metadata.sqlite"

    @property
    def runs(self) -> Path:
        """One folder per run on this machine: its log and its summary; of a workspace in a bucket, a passing one."""
        bucket = storage.is_bucket(self.workspace)
        return Path(tempfile.gettempdir()) / "flightdeck-runs" if bucket else Path(self.workspace) / "runs"

    def contract(self) -> Contract:
        """The columns of the dataset; raises a SettingsError if the file is missing or not a contract."""
        try:
            return Contract.load(self.use_case.contract)
        except (OSError, ValueError) as error:
            raise SettingsError(f"The contract {self.use_case.contract} cannot be used: {error}") from error

    def task(self) -> tasks.Task:
        """How the components treat what is predicted; raises a SettingsError as `contract` does."""
        return tasks.of(self.contract().target.model_dump_json())

    def document(self) -> dict[str, Any]:
        """The pipeline's own settings as JSON has them, for `pipeline.settings_file.from_document` to read.

        What an extension decides about them is resolved. Files of the project stand by their place in it, so that the
        same settings are the same document in any checkout and in an image.
        """
        document = {name: value for name, value in self.whole_document().items() if name in Settings.model_fields}
        if self.pushed_to != self.pushed:
            document["push"]["destination"] = self.pushed_to
        return document

    def whole_document(self) -> dict[str, Any]:
        """All settings as JSON has them, those of extensions too."""
        document = self.model_dump(mode="json")
        for name in _FILES:
            if document["use_case"].get(name):
                document["use_case"][name] = portable(Path(document["use_case"][name]), self.project)
        return document

    def digest(self) -> str:
        """A name for exactly the pipeline's own settings: 12 hexadecimal digits."""
        return digest(self.document())


# The settings of `use_case` that are files of the project.
_FILES = ("contract", "schema_file", "model_card")


def portable(path: Path, project: Path = CHECKOUT) -> str:
    """A file of a project by its place in it, so that it means the same in a checkout and in an image."""
    return path.relative_to(project).as_posix() if path.is_relative_to(project) else str(path)


def digest(document: Mapping[str, Any]) -> str:
    """12 hexadecimal digits of the SHA-256 of a document."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:12]
