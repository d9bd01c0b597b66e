"""The page of a run and its model card: turns evidence into plots, tables and sentences, as the templates want them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ledger.formats import NOTHING, count, duration, moment, number, percent, signed, size, spans
from ledger.run_facts import UNKNOWN, is_ours, last_sign_of_life
from ledger.run_record import RunRecord
from ledger.run_view import FEW_ROWS, MetricView, RunView, worst
from operations.report import lineage, plots, statistics
from operations.report.card import Card
from operations.report.drawing import Box, Drawing, draw
from operations.report.evidence import Evidence
from operations.report.index import Tile, metrics_of, window
from operations.report.quality import Quality

SECTIONS = (
    ("summary", "Where it came from"),
    ("pipeline", "Pipeline"),
    ("data", "Data"),
    ("training", "Training"),
    ("evaluation", "Evaluation"),
    ("slices", "Slices"),
    ("importance", "Importance"),
    ("lineage", "Lineage"),
)
_SECTIONS_OF_PREDICTIONS = ("summary", "pipeline", "data", "lineage")
# Columns of metrics in the table of slices.
_METRICS_OF_SLICES = 3
_IMPORTANCES = 25
# Columns whose plots are open from the beginning.
_FEATURES = 9


class Fact(NamedTuple):
    """A line about a run; `code` is written like code."""

    name: str
    value: str
    code: bool = False


@dataclasses.dataclass(frozen=True)
class Feature:
    """A column in each split; `shift` is how far it has moved from training."""

    name: str
    role: str | None
    splits: list[str]
    plot: plots.Plot | None
    figures: list[tuple[str, list[str]]]
    shift: float


@dataclasses.dataclass(frozen=True)
class Assessed:
    """What the scores of single rows show; `thresholds` are for the script that moves the threshold."""

    quality: Quality
    roc: plots.Plot | None
    precision_recall: plots.Plot | None
    calibration: plots.Plot
    scores: plots.Plot
    thresholds: list[list[float]]


@dataclasses.dataclass(frozen=True)
class SliceRow:
    """A slice, with its metrics beside the champion's."""

    name: str
    rows: int
    small: bool
    cells: list[MetricView]


@dataclasses.dataclass(frozen=True)
class Sliced:
    """The slices, worst first by the metric `main`, None if that is not among the `metrics` that are shown."""

    rows: list[SliceRow]
    metrics: list[str]
    main: str | None
    plot: plots.Plot | None


@dataclasses.dataclass(frozen=True)
class Picture:
    """A drawing, and what it shows for those who do not see it."""

    drawing: Drawing
    words: str


@dataclasses.dataclass(frozen=True)
class _AboutRun:
    """What the page of a run and its model card share; `missing` says of each section why it is not there."""

    evidence: Evidence
    missing: dict[str, str]
    tiles: list[Tile]
    facts: list[Fact]
    metrics: list[MetricView]
    assessed: Assessed | None
    sliced: Sliced


@dataclasses.dataclass(frozen=True)
class RunPage(_AboutRun):
    """The page of a run."""

    sections: list[tuple[str, str]]
    shown: set[str]
    unfinished: str | None
    features: list[Feature]
    further: list[Feature]
    splits: list[str]
    split_rows: dict[str, int]
    training: list[plots.Plot]
    importance: plots.Plot | None
    importance_note: str | None
    graph: Picture | None
    lineage: Picture | None
    whole: Picture | None
    relatives: list[tuple[lineage.Relative, str | None]]


@dataclasses.dataclass(frozen=True)
class CardPage(_AboutRun):
    """The model card of a run."""

    card: Card
    lead: str
    data_facts: list[Fact]
    limits: list[str]


def run(
    evidence: Evidence,
    records: Sequence[RunRecord],
    links: Mapping[str, str],
    roles: Mapping[str, str],
    whole: tuple[Sequence[Box], Sequence[tuple[str, str]]],
) -> RunPage:
    """The page of a run.

    Args:
        evidence: what is left of it.
        records: of all runs, oldest first.
        links: run -> its page as the first page links it, of the runs that have one.
        roles: column -> what it is to the model, where that is worth telling, such as ``label``.
        whole: boxes and edges of everything upstream and downstream of the run.
    """
    record = evidence.record
    splits = [name for name in plots.SPLITS if name in evidence.splits]
    splits += sorted(evidence.splits.keys() - set(splits))
    # A batch prediction neither trains nor evaluates.
    sections = [
        section for section in SECTIONS if record.kind != "prediction" or section[0] in _SECTIONS_OF_PREDICTIONS
    ]
    features = _features(evidence.splits, splits, roles)
    importance, importance_note = _importance(evidence)
    return RunPage(
        **_about(evidence, {"lineage": "It is not recorded what this run ingested or made."}),
        sections=sections,
        shown={key for key, _ in sections},
        unfinished=_unfinished(evidence),
        features=features[:_FEATURES],
        further=features[_FEATURES:],
        splits=splits,
        split_rows={name: evidence.splits[name].rows for name in splits},
        training=plots.training(evidence.curves),
        importance=importance,
        importance_note=importance_note,
        graph=_graph(evidence),
        lineage=_picture(*lineage.picture(evidence, records, evidence.predictions)),
        whole=_picture(*whole),
        relatives=[
            (relative, links.get(relative.run_id))
            for relative in lineage.relatives(record, records, evidence.predictions)
        ],
    )


def card(evidence: Evidence, text: Card | None) -> CardPage:
    """The model card of a run.

    Args:
        evidence: what is left of it.
        text: what people wrote about the model.
    """
    nobody = "Nobody has written down what this model is for: name a Markdown file in the setting use_case.model_card."
    return CardPage(
        **_about(evidence, {"card": nobody}),
        card=text or Card("Model card"),
        lead=_lead(evidence),
        data_facts=_data_facts(evidence),
        limits=_limits(evidence),
    )


def _about(evidence: Evidence, missing: dict[str, str]) -> dict[str, Any]:
    """The fields of `_AboutRun`."""
    record = evidence.record
    metrics = sorted(
        evidence.view.metrics,
        key=lambda metric: (metric.name != record.main_metric, not metric.thresholds),
    )
    return {
        "evidence": evidence,
        "missing": {**missing, **evidence.missing},
        "tiles": _tiles(evidence),
        "facts": _facts(evidence),
        "metrics": metrics,
        "assessed": _assessed(evidence.quality),
        "sliced": _sliced(evidence.view),
    }


def _unfinished(evidence: Evidence) -> str | None:
    said = {UNKNOWN: "is still going on, or was killed", "running": "is still going on", "killed": "was killed"}
    if is_ours(evidence.record) and evidence.outcome in said:
        done = sum(each.state in ("done", "cached") for each in evidence.nodes)
        heard = last_sign_of_life(evidence.record)
        last = f" Its last sign of life: {moment(heard)}." if heard else ""
        return f"This run {said[evidence.outcome]}: {done} of {count(len(evidence.nodes), 'node')} had ended.{last}"
    if not is_ours(evidence.record):
        return (
            "Another TFX pipeline made this run, and recorded neither code, settings nor metrics as Flightdeck does: "
            "what follows is what the metadata store knows by itself."
        )
    return None


def _tiles(evidence: Evidence) -> list[Tile]:
    record = evidence.record
    tiles = []
    if record.main_metric in record.metrics:
        metric = evidence.view.metric(record.main_metric or "")
        detail = (
            "no champion to compare with" if metric.change is None else f"{signed(metric.change)} against the champion"
        )
        tiles.append(Tile(metric.name, number(metric.value), detail, metric.verdict))
    if record.rows:
        by_split = ", ".join(f"{rows:,} {split}" for split, rows in record.rows.items())
        tiles.append(Tile("Rows", f"{sum(record.rows.values()):,}", by_split))
    if record.spans and window(record):
        by_split = ", ".join(f"{split} {spans(of)}" for split, of in record.spans.items() if of)
        tiles.append(Tile("Window", f"spans {window(record)}", by_split))
    if record.version:
        tiles.append(Tile("Pushed as", record.version, "version", "good"))
    seconds = record.seconds or (sum(node.seconds or 0 for node in evidence.nodes) or None)
    cached = sum(node.state == "cached" for node in evidence.nodes)
    tiles.append(Tile("Time", duration(seconds), f"{cached} of {count(len(evidence.nodes), 'node')} from the cache"))
    return tiles


def _facts(evidence: Evidence) -> list[Fact]:
    record = evidence.record
    ours, code = is_ours(record), record.code
    dirty = {True: "with uncommitted changes", False: "as committed", None: None}[code.dirty]
    began_with = f"artifact {record.base_model_id}: {record.began_with or 'its weights'}"
    given: tuple[tuple[str, str | int | None, bool], ...] = (
        ("Pipeline", record.pipeline, False),
        ("Kind", record.kind if ours else None, False),
        ("Belongs to", record.parent, False),
        ("Started", moment(record.started), False),
        ("By", " on ".join(part for part in (record.user, record.host) if part), False),
        ("Runner", record.runner if ours else None, False),
        ("Commit", code.commit and code.commit[:12], True),
        ("Code", dirty if code.commit else None, False),
        ("Branch", code.branch, True),
        ("Commit of Flightdeck", record.platform and record.platform.short(12), True),
        ("Settings", record.settings, True),
        ("Lock of the packages", record.lock and record.lock[:16], True),
        ("Data", record.data and record.data[:23], True),
        ("Window asked for", record.window, True),
        ("Peak memory", size(record.peak_mb * 1048576) if record.peak_mb else None, False),
        ("Model artifact", record.model_id, False),
        ("Began with", None if record.base_model_id is None else began_with, False),
        ("Champion artifact", record.champion_model_id, False),
        ("Pushed to", record.pushed_to, True),
    )
    return [Fact(name, str(value), code) for name, value, code in given if value not in (None, "")]


def _data_facts(evidence: Evidence) -> list[Fact]:
    record, anomalies = evidence.record, evidence.view.anomalies
    facts = []
    for split, of in record.spans.items():
        rows = f"{record.rows[split]:,} rows" if split in record.rows else "rows unknown"
        role = {"train": "Learned from", "eval": "Evaluated on"}.get(split, split)
        facts.append(Fact(role, f"{rows}, span {spans(of)}"))
    if "train" in evidence.splits:
        facts.append(Fact("Columns", str(len(evidence.splits["train"].columns))))
    if anomalies is not None:
        facts.append(Fact("Anomalies", str(len(anomalies) or "none")))
    if evidence.files:
        total = sum(file["bytes"] for file in evidence.files)
        facts.append(Fact("Files", f"{len(evidence.files)}, {size(total)}"))
    if record.data:
        facts.append(Fact("Fingerprint", record.data, True))
    return facts or [Fact("Data", "unknown: nothing was ingested")]


def _graph(evidence: Evidence) -> Picture | None:
    nodes = evidence.nodes
    if not nodes:
        return None
    states = {
        node.node_id: node.state + (f", {duration(node.seconds)}" if node.seconds is not None else "") for node in nodes
    }
    boxes = [Box(node.node_id, node.node_id, states[node.node_id], node.state) for node in nodes]
    # An edge that a longer way implies says nothing more, and hides the others.
    edges = _without_shortcuts({node.node_id: set(node.after) for node in nodes})
    words = "; ".join(
        f"{node.node_id}: {states[node.node_id]}" + (f", after {' and '.join(node.after)}" if node.after else "")
        for node in nodes
    )
    return Picture(draw(boxes, edges), f"{count(len(nodes), 'node')}. {words}.")


def _picture(boxes: Sequence[Box], edges: Sequence[tuple[str, str]]) -> Picture | None:
    return Picture(draw(boxes, edges), _in_words(boxes)) if boxes else None


def _in_words(boxes: Sequence[Box]) -> str:
    return "; ".join(f"{each.title}, {each.detail}" if each.detail else each.title for each in boxes)


def _without_shortcuts(after: Mapping[str, set[str]]) -> list[tuple[str, str]]:
    """The transitive reduction of an acyclic graph, as edges from upstream to downstream."""
    reached: dict[str, set[str]] = {}

    def upstream(node: str) -> set[str]:
        if node not in reached:
            reached[node] = set()
            reached[node] = after.get(node, set()).union(*(upstream(each) for each in after.get(node, ())))
        return reached[node]

    return [
        (each, node)
        for node, direct in after.items()
        for each in sorted(direct)
        if not any(each in upstream(other) for other in direct if other != each)
    ]


def _features(
    splits: Mapping[str, statistics.Statistics], order: Sequence[str], roles: Mapping[str, str]
) -> list[Feature]:
    if not splits:
        return []
    reference = splits.get("train", splits[order[0]])
    features = []
    for name in statistics.names([splits[split] for split in order]):
        columns = {split: splits[split].columns[name] for split in order if name in splits[split].columns}
        kinds = {each.kind for each in columns.values()}
        before = reference.columns.get(name)
        moved = {
            split: statistics.shift(before, each) if before is not None and before.kind == each.kind else None
            for split, each in columns.items()
        }
        features.append(
            Feature(
                name,
                roles.get(name),
                list(columns),
                plots.feature(name, columns, order) if len(kinds) == 1 else None,
                _figures(columns, moved, "train" if "train" in splits else order[0]),
                max((value for value in moved.values() if value is not None), default=0.0),
            )
        )
    return sorted(features, key=lambda feature: (-feature.shift, feature.name))


def _figures(
    columns: Mapping[str, statistics.Column], moved: Mapping[str, float | None], reference: str
) -> list[tuple[str, list[str]]]:
    each = list(columns.values())
    figures = [("missing", [percent(column.missing) for column in each])]
    if each[0].kind == "number":
        figures += [
            ("mean", [number(column.mean) for column in each]),
            ("std", [number(column.deviation) for column in each]),
            ("min", [number(column.minimum) for column in each]),
            ("median", [number(column.median) for column in each]),
            ("max", [number(column.maximum) for column in each]),
        ]
    else:
        figures += [
            ("values", [number(column.distinct) for column in each]),
            (
                "first",
                [f"{column.top[0][0]} {percent(column.top[0][1])}" if column.top else NOTHING for column in each],
            ),
        ]
    if len(columns) > 1:
        figures.append(
            (
                "moved by",
                [
                    NOTHING
                    if split == reference or moved[split] is None
                    else percent(moved[split])
                    if column.kind == "category"
                    else f"{moved[split]:.2f} std"
                    for split, column in columns.items()
                ],
            )
        )
    return figures


def _assessed(quality: Quality | None) -> Assessed | None:
    if quality is None:
        return None
    return Assessed(
        quality,
        plots.roc(quality) if quality.roc else None,
        plots.precision_recall(quality) if quality.precision_recall else None,
        plots.calibration(quality),
        plots.scores(quality),
        [
            [at.threshold, at.true_positives, at.false_positives, at.true_negatives, at.false_negatives]
            for at in quality.thresholds
        ],
    )


def _sliced(view: RunView) -> Sliced:
    record, main = view.record, view.record.main_metric or ""
    # What only counts or sums rows is no quality of a slice.
    names = [
        name
        for name in metrics_of([record])
        if name not in ("example_count", "weighted_example_count")
        and any(name in part.challenger for part in view.slices)
    ][: _METRICS_OF_SLICES - bool(record.champion_metrics)]
    sign = -1 if record.main_better == "lower" else 1
    ordered = sorted(view.slices, key=lambda part: (main not in part.challenger, sign * part.challenger.get(main, 0)))
    large = [part for part in ordered if part.rows >= view.min_slice_rows]
    return Sliced(
        [
            SliceRow(
                part.slice, part.rows, part.rows < view.min_slice_rows, [view.metric(name, part) for name in names]
            )
            for part in ordered
        ],
        names,
        main if main in names else None,
        plots.slices(large, main, record.metrics.get(main)) if main in names else None,
    )


def _importance(evidence: Evidence) -> tuple[plots.Plot | None, str | None]:
    found = evidence.importance
    if found is None:
        return None, None
    measured = [each for each in found["features"] if each["auc_drop"] is not None]
    features = [
        {"feature": each["feature"], "drop": each["auc_drop"], "deviation": each["auc_drop_std"] or 0.0}
        for each in measured[:_IMPORTANCES]
    ]
    rest = (
        f" {count(len(measured) - len(features), 'feature')} with less are left out." if measured[_IMPORTANCES:] else ""
    )
    note = (
        f"Each raw column was shuffled {found['repeats']} times among {found['rows']:,} rows of the evaluation split; "
        "the lines are one standard deviation of the shuffles. A column that repeats what others say gets little."
        f"{rest}"
    )
    return plots.importance(features, "AUC"), note


def _lead(evidence: Evidence) -> str:
    record = evidence.record
    parts = [f"The model of run {record.run_id}, started {moment(record.started)}"]
    if record.spans.get("train"):
        parts.append(f"trained on span {spans(record.spans['train'])}")
    if record.spans.get("eval"):
        parts.append(f"evaluated on span {spans(record.spans['eval'])}")
    state = f"pushed as version {record.version}" if record.version else evidence.outcome
    return f"{', '.join(parts)}; {state}."


def _limits(evidence: Evidence) -> list[str]:
    """What the figures of this run warn of."""
    record, slices, limits = evidence.record, evidence.view.slices, []
    main = record.main_metric or ""
    if record.outcome != "pushed" and is_ours(record):
        limits.append(f"This model is not in use: the run is {evidence.outcome}.")
    limits += [f"{reason[:1].upper()}{reason[1:]}." for reason in record.reasons if record.outcome == "not blessed"]
    if small := [part for part in slices if part.rows < FEW_ROWS]:
        limits.append(
            f"{count(len(small), 'slice')} of {len(slices)} have fewer than {FEW_ROWS} rows: their figures are mostly "
            "chance."
        )
    if record.main_better != "neither" and (
        weakest := worst(slices, main, record.main_better == "lower", FEW_ROWS, count=1)
    ):
        limits.append(
            f"It is weakest on {weakest[0].slice}: {main} {number(weakest[0].challenger[main])} on "
            f"{weakest[0].rows:,} rows, against {number(record.metrics.get(main))} overall."
        )
    if evidence.quality is not None and evidence.quality.groups:
        found = evidence.quality
        mean = sum(each.predicted * each.rows for each in found.groups) / found.rows
        if abs(mean - found.base_rate) > 0.02:
            way = "less" if mean < found.base_rate else "more"
            limits.append(
                f"It promises {way} than what came: {percent(mean)} on average, where {percent(found.base_rate)} of "
                "the rows were positive."
            )
    if evidence.view.champion_saw:
        limits.append(evidence.view.champion_saw)
    for split in ("eval", "serving"):
        if "train" in evidence.splits and split in evidence.splits:
            limits += _moved(evidence.splits["train"], evidence.splits[split], split)
    if not record.thresholds and is_ours(record):
        limits.append("Nothing was asked of its metrics.")
    return limits


def _moved(train: statistics.Statistics, other: statistics.Statistics, split: str) -> list[str]:
    """The columns that have moved far: half a standard deviation, or a tenth of the rows."""
    far = [
        name
        for name, column in train.columns.items()
        if name in other.columns
        and other.columns[name].kind == column.kind
        and statistics.shift(column, other.columns[name]) > (0.5 if column.kind == "number" else 0.1)
    ]
    where = {"eval": "the evaluation split", "serving": "what it is asked in service"}[split]
    return [f"{', '.join(far)}: {where} differs much from what it learned from."] if far else []
