"""Typed, frozen, strict settings of the pipeline: everything a run depends on besides code and data.

What happens after a run has sections of its own, beside the code that reads them; `flightdeck.settings` composes the
file. Neither this module nor `pipeline.settings_file`, which reads files, imports TensorFlow or TFX.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, PrivateAttr, model_validator

import storage
from components import tasks
from data.contract import Contract
from ledger.directions import reported
from pipeline.beam_settings import Beam
from pipeline.kubeflow_settings import Kubeflow
from pipeline.project import CHECKOUT
from pipeline.section import DottedPath, Location, ProjectFile, Section, SettingsError


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
