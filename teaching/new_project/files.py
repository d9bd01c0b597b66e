"""The files of a new project, as text."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import textwrap
from typing import Any

from components import tasks
from data.contract import Contract
from data.table_spans import Hashed, Parts, Periods
from teaching.new_project import delivery, schema
from teaching.new_project.columns import Inferred
from teaching.new_project.plan import ProjectPlan

_TEMPLATES = {
    "README.md": "README.md.j2",
    "Makefile": "Makefile.j2",
    ".gitignore": "gitignore.j2",
    "pyproject.toml": "pyproject.toml.j2",
    "config/local.yaml": "local.yaml.j2",
    "usecase/prepare.py": "prepare.py.j2",
    "usecase/CARD.md": "CARD.md.j2",
    "tests/test_usecase.py": "test_usecase.py.j2",
    "tests/test_run.py": "test_run.py.j2",
}
_CONTRACT_TEMPLATE = "contract.yaml.j2"
_FEW, _MANY, _SMALL = 2_000, 10_000, 20_000  # rows to learn from
_MOST_EMBEDDED = 50
_TEXT_BYTES = 2**30


def render(plan: ProjectPlan, name: str, origin: delivery.Origin) -> dict[str, str]:
    """The files by their path in the project."""
    import jinja2
    import yaml

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("teaching.new_project"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # None of these files is HTML.
    )
    environment.filters |= {
        "scalar": _scalar, "quoted": _quoted, "literal": _literal, "cell": _cell, "comment": _comment
    }  # fmt: skip
    facts = _facts(plan, name) | delivery.facts(name, origin)
    facts["words"] = environment.get_template(f"tasks/{plan.label.task}.j2").make_module(facts)
    text = environment.get_template(_CONTRACT_TEMPLATE).render(facts)
    contract = Contract.model_validate(yaml.safe_load(text))
    facts["taken_in"] = _taken_in(contract, plan)
    facts["disparities"] = tasks.of(contract.target.model_dump_json()).disparities
    templates = _TEMPLATES | delivery.TEMPLATES
    made = {path: environment.get_template(template).render(facts) for path, template in templates.items()}
    made["usecase/contract.yaml"] = text
    made["usecase/schema.pbtxt"] = schema.schema(contract, plan.rows, plan.split.numbers)
    made["usecase/__init__.py"] = f'"""The use case: {name}."""\n'
    return made


def source_name(plan: ProjectPlan) -> str:
    """What the copy of the table is called: as the table, without what code, settings or make take for no text."""
    return re.sub(r"[^\w ().,+@=-]", "_", plan.source.name)


def _scalar(text: str) -> str:
    """A text in YAML, with quotes only where it needs them: NO, yes, on and null are no texts there."""
    import yaml

    return text if re.fullmatch(r"[A-Za-z_][\w-]*", text) and yaml.safe_load(text) == text else _quoted(text)


def _quoted(text: str) -> str:
    """A text in YAML, in quotes and on one line, whatever characters it has."""
    import yaml

    return yaml.safe_dump(text, default_style='"', allow_unicode=True, width=math.inf).rstrip("\n")


def _literal(text: str) -> str:
    """A text in Python, as ruff would write it."""
    return repr(text) if '"' in text and "'" not in text else json.dumps(text, ensure_ascii=False)


def _cell(text: str) -> str:
    return re.sub(r"([\\`*|])", r"\\\1", " ".join(text.split()))


def _comment(text: str, indent: str = "") -> str:
    start = f"{indent}# "
    return textwrap.fill(text, 120, initial_indent=start, subsequent_indent=start, break_long_words=False)


def _taken_in(contract: Contract, plan: ProjectPlan) -> list[dict[str, str]]:
    """What the schema says of each suspect if somebody makes it a feature, and before which feature."""
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    suspects = {column.name for column in plan.suspects}
    if not suspects:
        return []
    change = {"known": "at_prediction", "role": "feature"}
    columns = tuple(column.model_copy(update=change if column.name in suspects else {}) for column in contract.columns)
    taken = contract.model_copy(update={"columns": columns})
    made = text_format.Parse(schema.schema(taken, plan.rows, plan.split.numbers), schema_pb2.Schema())
    lines = {
        feature.name: text_format.MessageToString(feature, as_utf8=True, as_one_line=True) for feature in made.feature
    }
    steps, following = [], ""
    for name in reversed(lines):
        if name in suspects:
            place = f"before the feature {following}" if following else "at the end"
            steps.insert(0, {"place": place, "lines": f"feature {{ {lines[name]} }}"})
        else:
            following = name
    return steps


def _facts(plan: ProjectPlan, name: str) -> dict[str, Any]:
    counts = plan.split.numbers.value_counts()
    newest = int(counts[max(plan.split.spans)])
    numbers = plan.of("number")
    return {
        "plan": plan,
        "name": name,
        "source": source_name(plan),
        "columns": [_column(column, plan) for column in plan.columns],
        "rule": type(plan.split.rule).__name__,
        "arguments": _arguments(plan.split.rule),
        "period": getattr(plan.split.rule, "period", None),
        "spans": len(plan.split.spans),
        "rows": len(plan.rows),
        "train_rows": f"{len(plan.rows) - newest:,}",
        "numeric": _listed(numbers),
        "heavy_tailed": _listed([column for column in numbers if column.heavy_tailed]),
        "missing": _listed([column for column in numbers if column.nullable]),
        "categorical": _listed(plan.of("category")),
        "text": _listed(plan.of("text")),
        "slices": f"[{', '.join(f'[{_scalar(name)}]' for name in plan.slices)}]",
        "min_slice_size": max(20, min(200, newest // 10)),
        "fewest": min(1000, max(50, plan.split.smallest // 2)),
        **_sizes(len(plan.rows) - newest, len(numbers), len(plan.of("text")), plan.label.rare),
    }


def _sizes(rows: int, numbers: int, texts: int, rare: bool) -> dict[str, Any]:
    """Of the network and its training, by the rows to learn from and the columns: found on those of docs/tables.md.

    Epochs follow from a number of steps, because there is no early stopping: texts and rare labels are learned by heart
    in few, and a small difference of a number takes many.
    """
    small, embedded = rows < _FEW, rows >= _MANY and 0 < numbers <= _MOST_EMBEDDED
    batch = 2 ** min(11, max(4, round(math.log2(max(rows, 1) / 64))))
    batch = min(batch, 128) if texts else batch
    steps = 500 if rare else 600 if texts else 700 if small else 2400
    return {
        "hidden_units": "[64]" if texts else "[64, 32]" if small else "[256, 128]",
        "embedding_dim": 4 if rows < _SMALL else 8,
        "number_frequencies": 48 if embedded else 0,
        "dropout": 0.3 if texts else 0.2 if small else 0.1,
        "batch_size": batch,
        "epochs": max(3, min(80, round(steps * batch / max(rows, 1)))),
        "vocabulary_min_count": 2 if rows < 2000 else 5 if rows < _SMALL else 20,
        "text_buckets": _buckets(rows, texts) if texts else None,
    }


def _buckets(rows: int, texts: int) -> int:
    """As many as words need, while the rows fit into a gigabyte."""
    return 2 ** max(8, min(12, math.floor(math.log2(_TEXT_BYTES / (4 * texts * max(rows, 1))))))


def _listed(columns: Any) -> str:
    text = f"[{', '.join(_scalar(column.name) for column in columns)}]"
    return textwrap.fill(text, 110, subsequent_indent=" " * 12, break_long_words=False, break_on_hyphens=False)


def _arguments(rule: Hashed | Parts | Periods) -> dict[str, str]:
    if isinstance(rule, Hashed):
        return {"columns": f'("{rule.columns[0]}",)', "parts": str(rule.parts)}
    if isinstance(rule, Parts):
        # One in a line, as new data bring another one.
        starts = "".join(f"        {json.dumps(start)},\n" for start in rule.starts)
        return {"column": json.dumps(rule.column), "starts": f"[\n{starts}    ]"}
    return {name: json.dumps(value) for name, value in dataclasses.asdict(rule).items()}


def _column(column: Inferred, plan: ProjectPlan) -> dict[str, Any]:
    values: Any = plan.rows[column.name]
    roles = {"number": "feature", "category": "feature", "text": "feature", "time": "key"}
    late = column.use in ("label", "outcome")
    seen = column.range is not None and (column.use != "label" or plan.label.ranged) and values.notna().any()
    return {
        "name": column.name,
        "type": column.type,
        "known": "after_prediction" if late else "before" if column.use in ("key", "time") else "at_prediction",
        "role": "slice" if column.sensitive else roles.get(column.use, column.use),
        "sensitive": column.sensitive,
        "groups": [_plain(bound) for bound in column.groups],
        "nullable": column.nullable,
        "meaning": _meaning(column, plan),
        "range": [_plain(bound) for bound in column.range] if column.range and column.use != "outcome" else None,
        "seen": f"{values.min():.6g} to {values.max():.6g}" if seen else None,
        "open": column.open and column.use != "outcome",
        "listed": [_quoted(value) for value in column.values or () if column.use != "outcome"],
        "note": column.note,
    }


def _meaning(column: Inferred, plan: ProjectPlan) -> str:
    if column.use == "label":
        return plan.label.meaning
    original = plan.original(column.name)
    named = f"'{original}' in the table. " if original != column.name else ""
    return f"{named}TO BE REVIEWED."


def _plain(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
