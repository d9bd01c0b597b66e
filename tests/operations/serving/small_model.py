"""A small real SavedModel with the signatures of the project's, made without training, for each task."""

import json
import math
import shutil
from pathlib import Path

from data.contract import Target, Task
from operations.inference.columns import Column, Inputs

COLUMNS = {"amount": "float32", "count": "int64", "colour": "string"}
INPUTS = Inputs({name: Column(name, dtype, (None, 1)) for name, dtype in COLUMNS.items()})
OUTPUTS = {"probability": Column("probability", "float32", (None, 1))}
EXAMPLE = {"amount": 0.1, "count": 3, "colour": "red"}
COLOURS = {"red": 0.5, "green": -0.5}
MISSING_COUNT = -(2**63)
# What explanations compare with: rows, and the features of one.
BACKGROUND = [
    {"amount": 2.0 * place, "count": 100 * (place % 7), "colour": ("red", "green", "")[place % 3]}
    for place in range(64)
]
FEATURES = {
    "amount_xf": lambda row: row["amount"],
    "count_xf": lambda row: float(row["count"]),
    "colour_xf": lambda row: COLOURS.get(row["colour"], 0.0),
}
# The names need care in JSON, in Prometheus and in a list of names.
QUANTILES = [-100.0, -10.0, 0.0, 10.0, 100.0]  # of labels
CLASSES = ("early, or on time", 'the "later" ones', "größte Verspätung")
TARGETS: dict[Task, Target] = {
    "binary": Target(label="late"),
    "multiclass": Target(label="how_late", task="multiclass", classes=CLASSES),
    "regression": Target(label="delay", task="regression", unit="minutes"),
}


def total(bias: float, row: dict) -> float:
    """What the answer to a row of plain values depends on; a missing one counts as zero."""
    number = bias + 0.01 * (row.get("amount") or 0.0) + 0.001 * (row.get("count") or 0)
    return number + COLOURS.get(row.get("colour") or "", 0.0)


def probability(bias: float, row: dict) -> float:
    """What the binary model answers."""
    return 1 / (1 + math.exp(-total(bias, row)))


def probabilities(bias: float, row: dict) -> list[float]:
    """What the multiclass model answers."""
    powers = [1.0, math.exp(total(bias, row)), math.exp(-2 * total(bias, row))]
    return [power / sum(powers) for power in powers]


def class_of(bias: float, row: dict) -> str:
    """The name of the class that is the most probable."""
    answer = probabilities(bias, row)
    return CLASSES[answer.index(max(answer))]


def value(bias: float, row: dict) -> float:
    """What the regression answers."""
    return 100 * total(bias, row)


def write(folder: Path, bias: float = 0.0, trouble: str = "", task: Task = "binary") -> Path:
    """Writes the model; `amount` is required in examples, the other two may be missing.

    With the trouble ``green`` it refuses that colour, and with ``slow`` it takes seconds for it. What it predicts is in
    its contract, unless it is binary.
    """
    import tensorflow as tf

    from models.explanation import Explainer

    answers = {
        "binary": lambda total: {"probability": tf.sigmoid(total)},
        "multiclass": lambda total: {
            "probabilities": tf.nn.softmax(tf.concat([tf.zeros_like(total), total, -2 * total], axis=1))
        },
        "regression": lambda total: {"value": 100 * total},
    }

    class Model(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bias = tf.Variable(bias, dtype=tf.float32)
            # Something with a size, so that a file that is cut short lacks some of it.
            self.weights = tf.Variable(tf.ones([4096], tf.float32))
            table = tf.lookup.KeyValueTensorInitializer(list(COLOURS), list(COLOURS.values()), tf.string, tf.float32)
            self.colours = tf.lookup.StaticHashTable(table, 0.0)

        def features(self, amount, count, colour):
            count = tf.where(count == MISSING_COUNT, tf.zeros_like(count), count)
            return {
                "amount_xf": tf.where(tf.math.is_nan(amount), 0.0, amount),
                "count_xf": tf.cast(count, tf.float32),
                "colour_xf": self.colours.lookup(colour),
            }

        def score(self, amount, count, colour):
            xf = self.features(amount, count, colour)
            green = tf.reduce_any(colour == "green")
            if trouble == "green":
                with tf.control_dependencies([tf.debugging.Assert(~green, ["not green"])]):
                    amount = tf.identity(amount)
                    xf = self.features(amount, count, colour)
            if trouble == "slow":
                # About three seconds on one core.
                rounds = tf.where(green, 60, 0)
                square = tf.fill([1200, 1200], tf.cast(tf.shape(amount)[0], tf.float32) * 1e-6)
                for _ in tf.range(rounds):
                    square = tf.linalg.matmul(square, square)
                xf = {**xf, "amount_xf": xf["amount_xf"] + 0.0 * square[0, 0]}
            return self.answer(xf)

        def answer(self, xf):
            total = self.bias * tf.reduce_mean(self.weights) + 0.01 * xf["amount_xf"] + 0.001 * xf["count_xf"]
            return answers[task](total + xf["colour_xf"])

        def explain(self, amount, count, colour):
            values, base_value, answer = explainer.explain(self.features(amount, count, colour))
            why = {f"why_{name}": values[:, place] for place, name in enumerate(explainer.columns)}
            return {output: answer, "base_value": base_value, **why}

        def parsed(self, examples):
            return tf.io.parse_example(
                examples,
                {
                    "amount": tf.io.FixedLenFeature([1], tf.float32),
                    "count": tf.io.FixedLenFeature([1], tf.int64, MISSING_COUNT),
                    "colour": tf.io.FixedLenFeature([1], tf.string, ""),
                },
            )

    model = Model()
    (output,) = answers[task](tf.zeros([1, 1]))
    background = {name: tf.constant([[of(row)] for row in BACKGROUND], tf.float32) for name, of in FEATURES.items()}
    explainer = Explainer(
        {f"{name}_xf": (name,) for name in COLUMNS},
        background,
        lambda xf: model.answer(xf)[output],
        len(CLASSES) if task == "multiclass" else 1,
    )
    raw = {name: tf.TensorSpec([None, 1], kind, name=name) for name, kind in COLUMNS.items()}
    examples = tf.TensorSpec([None], tf.string, name="examples")
    signatures = {
        "predict_raw": tf.function(lambda **columns: model.score(**columns)).get_concrete_function(**raw),
        "explain": tf.function(lambda **columns: model.explain(**columns)).get_concrete_function(**raw),
        "serving_default": tf.function(lambda examples: model.score(**model.parsed(examples))).get_concrete_function(
            examples=examples
        ),
        "transform_features": tf.function(
            lambda examples: model.features(**model.parsed(examples))
        ).get_concrete_function(examples=examples),
    }
    tf.saved_model.save(model, str(folder), signatures=signatures)
    (folder / "assets.extra").mkdir()
    (folder / "assets.extra" / "example.json").write_text(json.dumps(EXAMPLE))
    if task != "binary":
        write_contract(folder, contract_of(task))
    return folder


def contract_of(task: Task, **more: object) -> dict:
    """A contract that says what is predicted, and has no rule."""
    return {"target": TARGETS[task].model_dump(mode="json"), **more, "columns": []}


def write_contract(folder: Path, contract: dict) -> None:
    """Writes a contract, in the form in which versions carry it, beside a model."""
    (folder / "assets.extra").mkdir(exist_ok=True)
    (folder / "assets.extra" / "contract.json").write_text(json.dumps(contract))


def example(row: dict) -> bytes:
    """A row as a serialised tf.Example; missing values are left out."""
    import tensorflow as tf

    features = tf.train.Features()
    lists = {"string": "bytes_list", "int64": "int64_list", "float32": "float_list"}
    for name, value in row.items():
        if value is not None:
            plain = value.encode() if isinstance(value, str) else value
            getattr(features.feature[name], lists[COLUMNS[name]]).value.append(plain)
    return tf.train.Example(features=features).SerializeToString()


# A contract for the model's columns, in the form in which versions carry it.
CONTRACT = {
    "columns": [
        {"name": "amount", "required": True, "range": [0, 1000]},
        {"name": "count", "required": False, "range": [0, 100]},
        {"name": "colour", "required": False, "values": ["red", "green"]},
    ]
}


def push(source: Path, registry: Path, version: int | str, contract: dict | None = None) -> Path:
    """Copies a model into a folder of versions as a Pusher does: under another name first."""
    registry.mkdir(parents=True, exist_ok=True)
    temporary = registry / f".copying-{version}"
    shutil.copytree(source, temporary)
    if contract is not None:
        write_contract(temporary, contract)
    return temporary.rename(registry / str(version))


def cut_short(saved_model: Path) -> None:
    (data,) = (saved_model / "variables").glob("variables.data-*")
    data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
