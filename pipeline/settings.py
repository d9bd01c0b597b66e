"""Typed, frozen, strict settings: everything a run depends on besides code and data.

`pipeline.settings_file` reads them. Neither module imports TensorFlow or TFX, so that a command line can check a file
in a blink.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from data.contract import Contract
from errors import FlightdeckError
from ledger.directions import reported
from pipeline.project import CHECKOUT

DOTTED_PATH = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$"
DottedPath = Annotated[str, Field(pattern=DOTTED_PATH)]


class SettingsError(FlightdeckError):
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
    model_card: Path | None = Field(
        default=None, description="What the model is for and where it must not be used: Markdown, for the report."
    )

    def dotted_paths(self) -> tuple[str, ...]:
        """The code of the use case."""
        return (self.prepare, self.features, self.model, self.preprocessing_fn, self.run_fn, self.tuner_fn)


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

    RULES: ClassVar[tuple[str, ...]] = ("at_least", "at_most", "may_lose", "slices_at_least", "slices_may_lose")

    name: str = Field(description="Class name of a TFMA or Keras metric, such as AUC.")
    module: str = Field(default="", description="Module of the class, if it is neither TFMA's nor Keras's.")
    better: Literal["higher", "lower", "neither"] = Field(
        default="neither", description="Which values are better; a comparison needs to know."
    )
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

    @property
    def reported(self) -> str:
        """The name under which TFMA reports it."""
        return reported(self.name)

    def bounds(self) -> dict[str, float]:
        """What it must reach: rule -> bound; empty if nothing is asked of it."""
        return {rule: bound for rule in self.RULES if (bound := getattr(self, rule)) is not None}


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
    decision_threshold: float = Field(
        default=0.5, gt=0, lt=1, description="From which probability on reports count a row as predicted positive."
    )
    importance_rows: int = Field(
        default=5000, ge=0, description="On how many rows the importance of columns is measured; 0 switches it off."
    )

    @model_validator(mode="after")
    def _something_can_fail(self) -> Self:
        # An Evaluator without any threshold writes no blessing at all, and nothing would ever be pushed.
        if all(metric.at_least is None and metric.at_most is None for metric in self.metrics):
            raise ValueError("at least one metric needs `at_least` or `at_most`, or no model could ever be blessed")
        if missing := [each for each in self.gated_slices if each not in self.slices]:
            raise ValueError(f"gated_slices {missing} are not among the slices")
        return self

    def without_thresholds(self) -> Evaluation:
        """The same metrics on the same slices, with nothing asked of the model; TFX then writes no blessing."""
        nothing = dict.fromkeys(Metric.RULES)
        return self.model_copy(
            update={
                "gated_slices": (),
                "metrics": tuple(each.model_copy(update=nothing) for each in self.metrics),
            }
        )


class InfraValidation(Section):
    """How a candidate proves that it can serve."""

    requests: int = Field(default=32, ge=1, description="Real examples sent to the candidate in a fresh process.")
    server: str = Field(
        default="operations.serving",
        description="Python module of the server that must serve it; empty: TensorFlow alone, without a server.",
    )
    load_seconds: float = Field(default=120.0, gt=0, description="How long it may take to load.")
    answer_seconds: float = Field(default=30.0, gt=0, description="How long it may take to answer a request.")


class Tuning(Section):
    """Whether hyperparameters are searched for before training."""

    enabled: bool = Field(default=False, description="Put a Tuner before the Trainer.")


class Training(Section):
    """What a training begins with."""

    warm_start: bool = Field(
        default=False,
        description="Begin with the weights of the newest blessed model that has not learned from these examples, nor "
        "from what it would be judged on; false begins anew.",
    )


class Push(Section):
    """Where blessed models go."""

    enabled: bool = Field(default=True, description="Whether a run pushes at all.")
    destination: str | None = Field(
        default=None, description="Folder of numbered versions; default: `models/NAME` in the workspace."
    )
    keep: int | None = Field(
        default=None,
        ge=1,
        description="How many of the newest versions are kept after a push, and by `flightdeck models prune`; never "
        "removed are the served one, the champion, and what a rollback would bring back. Default: all are kept.",
    )


class Email(Section):
    """A mail server. Its password is in the environment, as FLIGHTDECK_ALERTS_SMTP_PASSWORD."""

    host: str = Field(description="Name or address of the server.")
    port: int = Field(default=587, ge=1, le=65535, description="Of the server.")
    starttls: bool = Field(default=True, description="Whether the connection is encrypted before anything is said.")
    username: str | None = Field(default=None, description="For the login. Default: none.")
    sender: str = Field(description="The address that mail is from.")
    recipients: tuple[str, ...] = Field(min_length=1, description="The addresses that it goes to.")


class AlertSettings(Section):
    """Who is told when something needs a person. Every alert is also a line of `alerts/alerts.jsonl`."""

    webhook: bool = Field(
        default=False, description="Post Slack-compatible JSON to the address in FLIGHTDECK_ALERTS_WEBHOOK."
    )
    email: Email | None = Field(default=None, description="Send mail over SMTP.")
    quiet_seconds: float = Field(
        default=3600.0, ge=0, description="Alerts about the same thing within this time are one, and counted."
    )
    timeout_seconds: float = Field(default=10.0, gt=0, description="Of one attempt to deliver.")


# From the mildest to the one that outranks the others: when the data of a window are at fault, they say nothing about
# any model.
Action = Literal["none", "alert", "retrain", "roll back", "quarantine"]
SignalKind = Literal[
    "skew", "drift", "missing", "unseen", "prediction", "label", "quality", "previous", "traffic", "latency"
]
WindowLength = Literal["minute", "hour", "day", "week", "month"]


class Rule(Section):
    """When a signal of the monitor is a reason to do something."""

    name: str = Field(pattern=r"^[a-z][a-z0-9 -]*$", description="What decisions and alerts call it.")
    kinds: tuple[SignalKind, ...] = Field(min_length=1, description="The kinds of signals that it is about.")
    subjects: tuple[str, ...] = Field(
        default=("*",), description="Patterns of columns, slices or measures, such as `price*`."
    )
    windows: int = Field(default=1, ge=1, description="In how many of the last `of` windows, the latest among them.")
    of: int = Field(default=1, ge=1, description="How many of the last windows are looked at.")
    cool_down_seconds: float = Field(default=0.0, ge=0, description="Then it asks for nothing for so long.")
    action: Action = Field(default="alert", description="What it asks for.")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.windows > self.of:
            raise ValueError(f"rule `{self.name}` wants {self.windows} of {self.of} windows")
        return self


class Monitoring(Section):
    """What is measured in each window of served requests, and what is done about it."""

    window: WindowLength = Field(default="day", description="Length of a window, of the calendar in UTC.")
    fewest_rows: int = Field(
        default=1000, ge=1, description="A window of fewer rows is too small to compare distributions."
    )
    fewest_requests: int = Field(
        default=10,
        ge=1,
        description="What fewer requests show decides nothing: missing values, values not allowed or extreme, a whole "
        "window. All rows of one request count once.",
    )
    fewest_labels: int = Field(
        default=1000, ge=1, description="Quality is not judged by fewer requests whose label has arrived."
    )
    missing_increase: float = Field(
        default=0.1, gt=0, le=1, description="By how much the share of missing values of an optional column may grow."
    )
    prediction_distance: float = Field(
        default=0.1, gt=0, description="Largest Jensen-Shannon divergence of the predictions from those in evaluation."
    )
    auc_may_lose: float = Field(default=0.03, ge=0, description="Against the evaluation of the served model.")
    log_loss_may_lose: float = Field(default=0.05, ge=0, description="Against the evaluation of the served model.")
    auc_kept: float = Field(
        default=0.4,
        ge=0,
        lt=1,
        description="What must be left of the evaluation's AUC above 0.5, as a share, of the served or the previous "
        "version. With less, the labels are doubted and not the model.",
    )
    calibration: tuple[float, float] = Field(
        default=(0.7, 1.4), description="Lowest and highest mean prediction by mean label."
    )
    previous_may_win: float = Field(
        default=0.002,
        ge=0,
        description="Log loss by which the previous version may be better on the same rows, by its interval.",
    )
    latency_p99_seconds: float | None = Field(
        default=None, gt=0, description="Slowest answer but for one in a hundred. Default: it is shown, not judged."
    )
    traffic: tuple[float, float] = Field(
        default=(0.2, 5.0), description="Lowest and highest number of requests, by the median of the windows before."
    )
    slices: tuple[tuple[str, ...], ...] = Field(
        default=(), description="Quality is measured on these too; default: the gated slices of the evaluation."
    )
    rules: tuple[Rule, ...] = (
        Rule(name="fault in the data", kinds=("missing", "unseen", "skew"), action="quarantine"),
        Rule(name="sudden change", kinds=("drift",), action="quarantine"),
        Rule(name="fault in the labels", kinds=("label",), action="quarantine"),
        Rule(name="worse than the previous version", kinds=("previous",), action="roll back"),
        Rule(name="changing data", kinds=("drift", "prediction"), windows=2, of=3, action="retrain"),
        Rule(
            name="worse than expected",
            kinds=("quality",),
            subjects=("auc", "log_loss", "calibration"),
            action="retrain",
        ),
        Rule(name="traffic", kinds=("traffic", "latency"), windows=2, of=3, action="alert"),
    )


class Triggers(Section):
    """What makes `flightdeck watch` train."""

    new_span: bool = Field(default=True, description="A span that no run has seen, or one that has changed.")
    every_seconds: float | None = Field(
        default=None, gt=0, description="So long after the last run began, whatever happened. Default: never."
    )
    decision: bool = Field(default=True, description="The monitor decides to retrain.")
    change: bool = Field(default=True, description="The code of the model, or the settings, have changed.")


class Continuous(Section):
    """The loop that trains, deploys and goes back: `flightdeck watch`."""

    level: Literal[0, 1, 2] = Field(
        default=1,
        description="Of maturity. 0: people are told, and do everything; 1: it trains by itself, and a person deploys "
        "and goes back; 2: it also deploys, quarantines and goes back by itself.",
    )
    triggers: Triggers = Triggers()
    poll_seconds: float = Field(default=30.0, gt=0, description="How often it looks for triggers.")
    settle_seconds: float = Field(
        default=10.0, ge=0, description="A span in which something changed so recently may still be being written."
    )
    runner: Literal["local", "kubeflow"] = Field(
        default="local", description="Where runs go: to this machine, or through the API of Kubeflow Pipelines."
    )
    starts: int = Field(
        default=3, ge=1, description="How often runs are begun for the same trigger before a person is asked."
    )
    retry_seconds: float = Field(
        default=60.0, ge=0, description="Pause after a run that failed; doubles with each, up to an hour."
    )


class Canary(Section):
    """A new version beside the served one, before it takes over."""

    mode: Literal["off", "shadow", "split"] = Field(
        default="off",
        description="off: what a run pushes is served. shadow: it also answers each request, and nobody but the log "
        "sees that. split: it alone answers a share of the requests.",
    )
    share: float = Field(default=0.1, gt=0, lt=1, description="Of the requests that a canary gets, in the mode split.")
    rows: int = Field(default=2000, ge=1, description="It must have answered so many before it may be promoted.")
    may_fail: float = Field(
        default=0.001,
        ge=0,
        lt=1,
        description="Share of the requests, of at least `rows`, that it may fail to answer before it is rejected.",
    )
    answer_seconds: float = Field(
        default=1.0,
        gt=0,
        description="An answer that takes longer has failed; in the mode split, the served one answers.",
    )
    queue_rows: int = Field(
        default=4096, ge=1, description="Rows that may wait for it in the mode shadow; more are left out, and counted."
    )
    labels: int = Field(
        default=1000, ge=1, description="From so many answers with a label on, its quality is compared as well."
    )
    may_lose: float = Field(
        default=0.005, ge=0, description="Log loss by which it may be worse than the served version, by its interval."
    )
    prediction_distance: float = Field(
        default=0.1, gt=0, description="Largest Jensen-Shannon divergence of its answers from the served version's."
    )
    wait_for_labels: bool = Field(
        default=False, description="Decide on quality only, however long labels take; for answers that cost much."
    )


class Fault(Section):
    """Something that goes wrong with the data of one span, for a replay."""

    function: DottedPath = Field(description="Function (table, seed) that returns the Arrow table as the fault has it.")
    column: str = Field(description="The column that is at fault, and that somebody ought to be told of.")
    requests: bool = Field(default=True, description="Whether requests show it too, or only the rows that arrive.")


class Replay(Section):
    """How `flightdeck replay` plays the past, one month per span."""

    begins: str = Field(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$", description="The month of span 1, such as 2013-01.")
    order: str = Field(description="The column by which the requests of a month come one after the other.")
    initial: str = Field(default="1:2", description="The window of the run whose model every level begins with.")
    approval_spans: int = Field(
        default=1, ge=0, description="How many months a model of level 1 waits for the person who approves of it."
    )
    faults: dict[str, Fault] = {}


class Metadata(Section):
    """Where ML Metadata records runs."""

    kind: Literal["sqlite", "mysql"] = Field(
        default="sqlite", description="A file of the workspace, or a server whose address is in the environment."
    )
    retries: int = Field(default=5, ge=0, description="Attempts to reach a server again.")


class Beam(Section):
    """Where the data-parallel components run. The default is in this process."""

    args: tuple[str, ...] = Field(
        # Not DirectRunner: it tries to download another runner in every component. In memory: threads cost 45 % more
        # CPU and gain nothing. No SDK container: or each component builds a source distribution of this project.
        default=("--runner=FnApiRunner", "--direct_running_mode=in_memory", "--sdk_container_image=none"),
        description="Arguments of Beam for every component that runs on it.",
    )
    components: dict[str, tuple[str, ...]] = Field(
        default={}, description="Other arguments for single components, such as Dataflow's or Flink's: node -> args."
    )


Validation = Literal["refuse", "flag", "off"]


class Payloads(Section):
    """What is kept of the requests and their answers, for monitoring."""

    enabled: bool = Field(default=True, description="Whether anything is kept.")
    folder: str | None = Field(default=None, description="Default: `payloads` in the workspace.")
    sample: float = Field(default=1.0, ge=0, le=1, description="Share of the requests that is logged.")
    exclude: tuple[str, ...] = Field(default=(), description="Columns that are left out, such as personal ones.")
    rotate_rows: int = Field(default=1_000_000, ge=1, description="Rows after which a file is closed.")
    rotate_seconds: float = Field(
        default=300.0, gt=0, description="Age at which a file is closed. A process that is killed loses this much."
    )
    buffer_rows: int = Field(
        default=100_000, ge=1, description="Rows that may wait to be written; more are dropped and counted."
    )


class Serving(Section):
    """The prediction service: `flightdeck serve`."""

    host: str = Field(default="127.0.0.1", description="The address to listen on. There is no authentication.")
    port: int = Field(default=8080, ge=0, le=65535, description="For REST; 0 takes any free one.")
    grpc_port: int = Field(default=8081, ge=0, le=65535, description="For gRPC; 0 takes any free one.")
    poll_seconds: float = Field(default=1.0, gt=0, description="How often the folder of versions is looked at.")
    settle_seconds: float = Field(
        default=10.0, ge=0, description="How long a version may lack its saved_model.pb before it counts as failed."
    )
    keep_versions: int = Field(
        default=2, ge=1, description="The newest versions that stay loaded, and can be asked for by number."
    )
    threads: int | None = Field(
        default=1, ge=1, description="TensorFlow's threads within an operation; null lets TensorFlow choose."
    )
    max_batch_rows: int = Field(default=512, ge=1, description="Requests that wait are answered together up to this.")
    batch_delay_ms: float = Field(
        default=0.0, ge=0, description="How long a request waits for company. 0 joins only what waits anyway."
    )
    queue_rows: int = Field(default=65_536, ge=1, description="Rows that may wait; a request beyond is refused (503).")
    max_rows: int = Field(default=16_384, ge=1, description="Rows of one request.")
    max_body_bytes: int = Field(default=16 * 2**20, ge=1, description="Size of one request.")
    grace_seconds: float = Field(default=30.0, ge=0, description="How long open requests are waited for at the end.")
    drain_seconds: float = Field(
        default=0.0, ge=0, description="How long it is alive but not ready before it ends, for load balancers to see."
    )
    prediction_buckets: tuple[float, ...] = Field(
        default=tuple(each / 20 for each in range(1, 21)),
        description="Upper bounds of the histogram of predictions. The default suits probabilities.",
    )
    validation: Validation = Field(
        default="refuse",
        description="What becomes of rows that break the contract that the version carries: a column that is never "
        "missing left out, a value outside a closed list or a range. refuse: of the request, file or message, with all "
        "faults; flag: it is answered, and answer and payload log mark the rows; off: nothing is checked.",
    )
    payloads: Payloads = Payloads()


class Batch(Section):
    """Batch prediction: `flightdeck predict`."""

    pipeline_rows: int = Field(
        default=1_000_000,
        ge=1,
        description="From so many rows on, the inference pipeline predicts, which Beam can spread; fewer are predicted "
        "in one process, which starts sooner.",
    )


class Toleration(Section):
    """Lets a pod run on nodes with a taint."""

    key: str = Field(description="Of the taint.")
    operator: Literal["Exists", "Equal"] = Field(default="Exists", description="Whether the value matters.")
    value: str = Field(default="", description="Of the taint, for Equal.")
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = Field(
        default="", description="Of the taint; empty: any."
    )


class Resources(Section):
    """What a task asks the cluster for, in Kubernetes' units."""

    image: str | None = Field(default=None, description="Default: `kubeflow.image`. The Trainer's may hold CUDA.")
    cpu: str = Field(default="1", description="Cores that are reserved.")
    cpu_limit: str | None = Field(default=None, description="Default: no limit, so that idle cores are used.")
    memory: str = Field(default="4Gi", description="Reserved, and the limit.")
    ephemeral_storage: str = Field(default="10Gi", description="Size limit of /tmp.")
    gpus: int = Field(default=0, ge=0, description="How many GPUs.")
    gpu_type: str = Field(default="nvidia.com/gpu", description="The resource's name in Kubernetes.")
    node_selector: dict[str, str] = Field(default={}, description="Labels that the node must have.")
    tolerations: tuple[Toleration, ...] = ()
    retries: int = Field(default=2, ge=0, description="How often a failed task is tried again.")
    retry_seconds: int = Field(default=30, ge=0, description="Wait before the first retry; doubles each time.")
    timeout_seconds: int = Field(default=4 * 3600, gt=0, description="How long one attempt may take.")


class Claim(Section):
    """A PersistentVolumeClaim mounted into every task."""

    name: str = Field(description="Of the claim.")
    mount: str = Field(description="The folder at which tasks see it.")


class Kubeflow(Section):
    """How the pipeline runs on Kubeflow Pipelines. No other runner reads this."""

    image: str = Field(description="The image of `flightdeck image build`, with its tag.")
    endpoint: str | None = Field(default=None, description="Address of the KFP API, such as http://localhost:8888.")
    namespace: str | None = Field(default=None, description="For multi-user Kubeflow.")
    experiment: str | None = Field(default=None, description="Default: the use case's name.")
    service_account: str = Field(default="flightdeck-runner", description="Of Kubernetes, for every task.")
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
            "data": (
                "CuratedSchema",
                "SpanExampleGen",
                "StatisticsGen",
                "SchemaGen",
                "ExampleValidator",
                "DataGate",
                "BaseModel",
            ),
            "release": ("Champion", "Evaluator", "Scores", "InfraValidator", "Pusher"),
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
    training: Training = Training()
    model: Any = Field(description="Defined by `use_case.model`.")
    evaluation: Evaluation
    infra_validation: InfraValidation = InfraValidation()
    push: Push = Push()
    monitoring: Monitoring = Monitoring()
    alerts: AlertSettings = AlertSettings()
    continuous: Continuous = Continuous()
    canary: Canary = Canary()
    replay: Replay | None = Field(default=None, description="Only `flightdeck replay` reads it.")
    metadata: Metadata = Metadata()
    beam: Beam = Beam()
    serving: Serving = Serving()
    batch: Batch = Batch()
    kubeflow: Kubeflow | None = None
    cache: bool = Field(
        default=True, description="Reuse the results of nodes whose inputs, settings and code are unchanged."
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
    def canaries(self) -> str:
        """The folder of versions that are tried beside the served one; never the one that servers answer from."""
        return f"{self.pushed}-canary"

    @property
    def pushed_to(self) -> str:
        """Where runs push: a version is served at once, or tried beside the served one first."""
        return self.pushed if self.canary.mode == "off" else self.canaries

    @property
    def metadata_file(self) -> Path:
        """The file of ML Metadata, if it is of the kind sqlite."""
        return Path(self.workspace) / "metadata.sqlite"

    @property
    def payloads(self) -> str:
        """The folder of the requests that were answered, and their answers."""
        return self.serving.payloads.folder or f"{self.workspace}/payloads"

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

    def document(self) -> dict[str, Any]:
        """These settings as JSON has them; `pipeline.settings_file.from_document` reads it.

        Files of the project stand by their place in it, so that the same settings are the same document in any
        checkout and in an image.
        """
        document = self.model_dump(mode="json")
        for name in _FILES:
            if document["use_case"].get(name):
                document["use_case"][name] = portable(Path(document["use_case"][name]), self.project)
        return document

    def digest(self) -> str:
        """A name for exactly these settings: 12 hexadecimal digits."""
        return hashlib.sha256(json.dumps(self.document(), sort_keys=True).encode()).hexdigest()[:12]


# The settings of `use_case` that are files of the project.
_FILES = ("contract", "schema_file", "model_card")


def portable(path: Path, project: Path = CHECKOUT) -> str:
    """A file of a project by its place in it, so that it means the same in a checkout and in an image."""
    return path.relative_to(project).as_posix() if path.is_relative_to(project) else str(path)
