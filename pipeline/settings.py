"""Typed, frozen, strict settings, read once from one YAML file and passed in.

This module imports neither TensorFlow nor TFX, so that a command line can check a file in a blink.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import json
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator

from components.span_example_gen.window import Window
from data.contract import Contract

DOTTED_PATH = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$"
DottedPath = Annotated[str, Field(pattern=DOTTED_PATH)]


class SettingsError(ValueError):
    """Settings that cannot be used; the text is one sentence per problem, for the person who wrote them."""


class Section(BaseModel):
    """A part of the settings: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, protected_namespaces=())


class UseCase(Section):
    """Where the use case lives. Everything else in the project serves another dataset as it is."""

    name: Annotated[
        str,
        Field(pattern=r"^[a-z][a-z0-9-]{0,39}$", description="Also names the pipeline and the pushed model."),
    ]
    contract: Path = Field(description="The columns of the dataset, and when each becomes known.")
    schema_file: Path = Field(description="The curated TFDV schema that validation uses.")
    prepare: DottedPath = Field(description="Function (destination, progress=…) that writes the spans.")
    features: DottedPath = Field(
        description="Settings class of the `features` section; `check(contract)` refuses wrong ones."
    )
    model: DottedPath = Field(description="Settings class of the `model` section.")
    preprocessing_fn: DottedPath = Field(description="Transform's preprocessing function.")
    run_fn: DottedPath = Field(description="The Trainer's function.")
    tuner_fn: DottedPath = Field(description="The Tuner's function.")


class Data(Section):
    """Which data a run sees."""

    spans: str | None = Field(default=None, description="Folder of spans; default: `spans` in the workspace.")
    window: str = Field(
        default="oldest:newest", description="FIRST:LAST span; a number, `oldest`, `newest` or `newest-K`."
    )
    eval_spans: int = Field(default=1, ge=1, description="How many of the newest spans are the evaluation split.")


class Gate(Section):
    """What DataGate does about anomalies."""

    severity: Literal["error", "warning", "never"] = Field(
        default="error", description="The lowest severity that stops a run."
    )


class Metric(Section):
    """One metric of the evaluation, and what it must reach."""

    name: str = Field(description="Class name of a TFMA or Keras metric, such as AUC.")
    module: str = Field(default="", description="Module of the class, if it is neither TFMA's nor Keras's.")
    better: Literal["higher", "lower", "neither"] = "neither"
    at_least: float | None = Field(
        default=None, description="The challenger must reach this, whatever the champion does."
    )
    at_most: float | None = Field(default=None, description="The challenger must not exceed this.")
    may_lose: float | None = Field(
        default=None, ge=0, description="How much worse than the champion the challenger may be on the same data."
    )
    slices_at_least: float | None = Field(default=None, description="Each slice must reach this.")
    slices_may_lose: float | None = Field(default=None, ge=0, description="As `may_lose`, for each slice.")

    @model_validator(mode="after")
    def _comparison_needs_a_direction(self) -> Self:
        if self.better == "neither" and (self.may_lose is not None or self.slices_may_lose is not None):
            raise ValueError(f"metric {self.name} has `may_lose`, so `better` must be `higher` or `lower`")
        return self


class Evaluation(Section):
    """How a challenger is judged."""

    slices: tuple[tuple[str, ...], ...] = Field(default=(), description="Each is a column, or several columns crossed.")
    gated_slices: tuple[tuple[str, ...], ...] = Field(
        default=(), description="The slices to which thresholds of slices apply."
    )
    metrics: tuple[Metric, ...] = Field(min_length=1)
    min_slice_size: int = Field(
        default=100, ge=1, description="Smaller slices are measured but not shown among the worst."
    )

    @model_validator(mode="after")
    def _something_can_fail(self) -> Self:
        # An Evaluator without any threshold writes no blessing at all, and nothing would ever be pushed.
        if all(metric.at_least is None and metric.at_most is None for metric in self.metrics):
            raise ValueError("at least one metric needs `at_least` or `at_most`, or no model could ever be blessed")
        if missing := [each for each in self.gated_slices if each not in self.slices]:
            raise ValueError(f"gated_slices {missing} are not among the slices")
        return self


class InfraValidation(Section):
    """How a candidate proves that it can serve."""

    requests: int = Field(default=32, ge=1, description="Real examples sent to the candidate in a fresh process.")
    load_seconds: float = Field(default=120.0, gt=0)
    answer_seconds: float = Field(default=30.0, gt=0)


class Tuning(Section):
    """Whether hyperparameters are searched for before training."""

    enabled: bool = False


class Push(Section):
    """Where blessed models go."""

    enabled: bool = True
    destination: str | None = Field(
        default=None, description="Folder of numbered versions; default: `models/NAME` in the workspace."
    )


class Metadata(Section):
    """Where ML Metadata records runs."""

    kind: Literal["sqlite", "mysql"] = Field(
        default="sqlite", description="A file of the workspace, or a server whose address is in the environment."
    )
    retries: int = Field(default=5, ge=0, description="Attempts to reach a server again.")


class Beam(Section):
    """Where the data-parallel components run. The default is in this process."""

    args: tuple[str, ...] = (
        # Not DirectRunner: it tries to download another runner in every component. In memory: threads cost 45 % more
        # CPU and gain nothing. No SDK container: or each component builds a source distribution of this project.
        "--runner=FnApiRunner",
        "--direct_running_mode=in_memory",
        "--sdk_container_image=none",
    )


class Toleration(Section):
    """Lets a pod run on nodes with a taint."""

    key: str
    operator: Literal["Exists", "Equal"] = "Exists"
    value: str = ""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""


class Resources(Section):
    """What a task asks the cluster for, in Kubernetes' units."""

    image: str | None = Field(default=None, description="Default: `kubeflow.image`. The Trainer's may hold CUDA.")
    cpu: str = "1"
    cpu_limit: str | None = Field(default=None, description="Default: no limit, so that idle cores are used.")
    memory: str = "4Gi"
    ephemeral_storage: str = Field(default="10Gi", description="Size limit of /tmp.")
    gpus: int = Field(default=0, ge=0)
    gpu_type: str = Field(default="nvidia.com/gpu", description="The resource's name in Kubernetes.")
    node_selector: dict[str, str] = {}
    tolerations: tuple[Toleration, ...] = ()
    retries: int = Field(default=2, ge=0, description="How often a failed task is tried again.")
    retry_seconds: int = Field(default=30, ge=0, description="Wait before the first retry; doubles each time.")
    timeout_seconds: int = Field(default=4 * 3600, gt=0)


class Claim(Section):
    """A PersistentVolumeClaim mounted into every task."""

    name: str
    mount: str


class Kubeflow(Section):
    """How the pipeline runs on Kubeflow Pipelines. No other runner reads this."""

    image: str = Field(description="The image of `flightdeck image build`, with its tag.")
    endpoint: str | None = Field(default=None, description="Address of the KFP API, such as http://localhost:8888.")
    namespace: str | None = Field(default=None, description="For multi-user Kubeflow.")
    experiment: str | None = Field(default=None, description="Default: the use case's name.")
    service_account: str = "flightdeck-runner"
    metadata_secret: str = Field(
        default="flightdeck-metadata", description="Secret with host, port, database, username and password."
    )
    pipeline_root: str | None = Field(default=None, description="Where KFP keeps its own artifacts.")
    claim: Claim | None = None
    parameters: dict[str, str] = Field(
        default={"epochs": "model.epochs", "learning_rate": "model.learning_rate"},
        description="Settings of the Trainer that can be changed when submitting: parameter -> setting.",
    )
    groups: dict[str, tuple[str, ...]] = Field(
        default={
            "data": ("CuratedSchema", "SpanExampleGen", "StatisticsGen", "SchemaGen", "ExampleValidator", "DataGate"),
            "release": ("Champion", "Evaluator", "InfraValidator", "Pusher"),
        },
        description="Neighbouring nodes that share a task, because every container pays for its own imports.",
    )
    default: Resources = Resources()
    resources: dict[str, Resources] = Field(default={}, description="By node, or by group: overrides `default`.")


class Settings(Section):
    """Everything a run depends on besides code and data."""

    use_case: UseCase
    workspace: str = Field(
        default="workspace",
        description="Everything a run writes goes below this folder, or URI such as gs://bucket/path.",
    )
    data: Data = Data()
    gate: Gate = Gate()
    features: Any = Field(description="Defined by `use_case.features`.")
    tuning: Tuning = Tuning()
    model: Any = Field(description="Defined by `use_case.model`.")
    evaluation: Evaluation
    infra_validation: InfraValidation = InfraValidation()
    push: Push = Push()
    metadata: Metadata = Metadata()
    beam: Beam = Beam()
    kubeflow: Kubeflow | None = None
    cache: bool = Field(
        default=True, description="Reuse the results of nodes whose inputs, settings and code are unchanged."
    )

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
    def metadata_file(self) -> Path:
        """The file of ML Metadata, if it is of the kind sqlite."""
        return Path(self.workspace) / "metadata.sqlite"

    @property
    def runs(self) -> Path:
        """One folder per run on this machine: its log and its summary."""
        return Path(self.workspace) / "runs"

    def contract(self) -> Contract:
        """The columns of the dataset.

        Raises:
            SettingsError: the file is missing or not a contract.
        """
        try:
            return Contract.load(self.use_case.contract)
        except (OSError, ValueError) as error:
            raise SettingsError(f"The contract {self.use_case.contract} cannot be used: {error}") from error

    def digest(self) -> str:
        """A name for exactly these settings: 12 hexadecimal digits."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]


def resolve(path: str) -> Any:
    """The object behind a dotted path such as ``package.module.name``.

    Raises:
        SettingsError: there is no such module, or no such name in it.
    """
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise SettingsError(f"`{path}` cannot be imported: {error}") from error


def load(path: Path, overrides: Sequence[str] = ()) -> Settings:
    """Reads settings from YAML, applies ``key=value`` overrides, and checks everything that can be checked early.

    A file may name another one beside it under ``extends``; it then says only what differs. Mappings are merged,
    anything else is replaced.

    Relative paths in the settings are relative to the project: the folder above ``config/``, or else the folder of
    the file.

    Args:
        path: the YAML file.
        overrides: such as ``model.epochs=2``; values are YAML.

    Raises:
        SettingsError: with one sentence per problem.
    """
    raw = _read(path)
    for override in overrides:
        _override(raw, override)
    bound = bind(raw.get("use_case"), str(path))
    try:
        # Through JSON, because strict validation of Python objects would want tuples where YAML has lists.
        settings = bound.model_validate_json(json.dumps(raw, default=str))
    except ValidationError as error:
        raise SettingsError(_explain(error, bound, str(path))) from None
    project = path.resolve().parent
    settings = _anchored(settings, project.parent if project.name == "config" else project)
    _check_features(settings)
    return settings


def bind(use_case: Any, source: str) -> type[Settings]:
    """The settings class in which ``features`` and ``model`` have the types that the use case defines.

    Raises:
        SettingsError: the ``use_case`` section itself is wrong.
    """
    try:
        section = UseCase.model_validate_json(json.dumps(use_case, default=str))
    except ValidationError as error:
        raise SettingsError(_explain(error, UseCase, source, prefix=("use_case",))) from None
    features, model = resolve(section.features), resolve(section.model)
    return create_model(
        "Settings",
        __base__=Settings,
        __doc__=Settings.__doc__,
        features=(features, Field(default=features(), description=f"`{section.features}`")),
        model=(model, Field(default=model(), description=f"`{section.model}`")),
    )


def _read(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"There is no settings file {path}.") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"The settings file {path} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise SettingsError(f"The settings file {path} must hold a mapping of sections.")
    base = raw.pop("extends", None)
    if base is None:
        return raw
    if path in seen or not isinstance(base, str):
        raise SettingsError(f"The settings file {path} cannot extend {base!r}.")
    return _merged(_read(path.parent / base, (*seen, path)), raw)


def _merged(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    both = {name: _merged(base[name], value) for name, value in changes.items() if _are_mappings(base.get(name), value)}
    return {**base, **changes, **both}


def _are_mappings(*values: Any) -> bool:
    return all(isinstance(value, dict) for value in values)


def _override(raw: dict[str, Any], override: str) -> None:
    key, sign, text = override.partition("=")
    if not sign or not all(key.split(".")):
        raise SettingsError(f"`--set {override}` is not of the form key=value, such as model.epochs=2.")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise SettingsError(f"The value in `--set {override}` is not valid YAML.") from None
    *parents, last = key.split(".")
    node = raw
    for part in parents:
        child = node.setdefault(part, {}) if isinstance(node, dict) else None
        if not isinstance(child, dict):
            raise SettingsError(f"`--set {override}`: `{part}` is not a section of the settings.")
        node = child
    node[last] = value


def _anchored(settings: Settings, project: Path) -> Settings:
    """The same settings with absolute paths; a URI such as gs://bucket stays as it is."""

    def anchor(location: str) -> str:
        return location.rstrip("/") if "://" in location else str(project / Path(location).expanduser())

    def anchor_if(location: str | None) -> str | None:
        return None if location is None else anchor(location)

    use_case = settings.use_case
    return settings.model_copy(
        update={
            "workspace": anchor(settings.workspace),
            "data": settings.data.model_copy(update={"spans": anchor_if(settings.data.spans)}),
            "push": settings.push.model_copy(update={"destination": anchor_if(settings.push.destination)}),
            "use_case": use_case.model_copy(
                update={"contract": project / use_case.contract, "schema_file": project / use_case.schema_file}
            ),
        }
    )


def _check_features(settings: Settings) -> None:
    """Refuses what would fail, or mislead, only minutes into a run."""
    contract = settings.contract()
    try:
        settings.features.check(contract)
    except ValueError as error:
        raise SettingsError(f"features: {error}") from error
    known = contract.ingested(labelled=False)
    for column in sorted({column for crossed in settings.evaluation.slices for column in crossed} - set(known)):
        raise SettingsError(
            f"evaluation.slices: `{column}` is not an ingested column of the contract; choose among {', '.join(known)}."
        )
    try:
        Window.parse(settings.data.window)
    except ValueError as error:
        raise SettingsError(f"data.window: {error}") from error
    if not settings.use_case.schema_file.is_file():
        raise SettingsError(f"use_case.schema_file: there is no file {settings.use_case.schema_file}.")


def _explain(error: ValidationError, model: type[BaseModel], source: str, prefix: tuple[str, ...] = ()) -> str:
    return "\n".join(_explain_one(dict(problem), model, source, prefix) for problem in error.errors())


def _explain_one(problem: Mapping[str, Any], model: type[BaseModel], source: str, prefix: tuple[str, ...]) -> str:
    location = tuple(problem["loc"])
    key = ".".join(str(part) for part in (*prefix, *location))
    if problem["type"] == "extra_forbidden":
        close = difflib.get_close_matches(str(location[-1]), _names_beside(model, location[:-1]), n=1)
        hint = (
            f"; did you mean `{'.'.join(str(part) for part in (*prefix, *location[:-1], close[0]))}`?" if close else ""
        )
        return f"{source}: there is no setting `{key}`{hint or '.'}"
    if problem["type"] == "missing":
        return f"{source}: the setting `{key}` is missing."
    message = problem["msg"].removeprefix("Value error, ").rstrip(".")
    got = "" if problem["type"] == "value_error" else f" (got {json.dumps(problem['input'], default=str)[:80]})"
    return f"{source}: `{key}`: {message[:1].lower()}{message[1:]}{got}." if key else f"{source}: {message}."


def _names_beside(model: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    """The names of the settings in the section at ``location``."""
    current: Any = model
    for part in location:
        if isinstance(part, int):
            continue
        current = _section_type(current.model_fields[part].annotation) if hasattr(current, "model_fields") else None
    return list(current.model_fields) if hasattr(current, "model_fields") else []


def _section_type(annotation: Any) -> Any:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, tuple):
        return next((each for each in typing.get_args(annotation) if hasattr(each, "model_fields")), None)
    return annotation
