"""The pipeline's work as one script without TFX and without operations: the least that the same model costs.

Arrow reads the rows, TFDV counts, numpy transforms, Keras fits the network of `models.network`, scikit-learn measures
it per slice. `benchmarks.pipeline` runs this beside a run of the pipeline:

    python -m benchmarks.bare --config config/local.yaml --data FOLDER --out FOLDER
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import psutil
import pyarrow.parquet as pq
import tensorflow_data_validation as tfdv
from sklearn import metrics

from flightdeck.settings import read_settings
from models import network, tasks
from models.features import FeatureSettings
from models.preprocessing import CATEGORICAL, NUMERIC, category_rows
from models.settings import ModelSettings


class Stopwatch:
    """Wall and processor seconds of one part after the other, from the start of the process."""

    def __init__(self) -> None:
        """Starts the first part, of which all is counted that happened before."""
        self.parts: dict[str, dict[str, float]] = {}
        self._wall, self._cpu = psutil.Process().create_time(), 0.0

    def lap(self, part: str) -> None:
        """Ends a part; all that came after the one before belongs to it."""
        wall, cpu = time.time(), time.process_time()
        self.parts[part] = {"seconds": wall - self._wall, "cpu_seconds": cpu - self._cpu}
        self._wall, self._cpu = wall, cpu


class Transform:
    """What `models.preprocessing` does, in numpy; learned from the training rows."""

    def __init__(self, features: FeatureSettings, train: pd.DataFrame) -> None:
        """Learns means, deviations and the vocabulary."""
        self._features = features
        numbers = self._roots(train)
        self._mean, self._deviation = np.nanmean(numbers, axis=0), np.nanstd(numbers, axis=0)
        counts = pd.concat(
            [(f"{name}=" + train[name].dropna().astype(str)).value_counts() for name in features.categorical]
        )
        self.vocabulary: list[str] = counts.index[counts >= features.vocabulary_min_count].tolist()
        self._rows = {category: row for row, category in enumerate(self.vocabulary)}

    def __call__(self, frame: pd.DataFrame) -> dict[str, np.ndarray]:
        """The inputs of the network."""
        features = self._features
        clip = features.clip
        with np.errstate(invalid="ignore"):
            scaled = np.clip((self._roots(frame) - self._mean) / self._deviation, -clip, clip)
        missing = frame[list(features.missing_indicators)].isna().to_numpy(np.float32)
        waves = []
        for name, period in features.cycles:
            angles = (
                np.outer(frame[name].to_numpy(np.float32), np.arange(1, features.harmonics + 1)) * 2 * np.pi / period
            )
            waves += [np.sin(angles), np.cos(angles)]
        numbers = np.nan_to_num(np.concatenate([scaled, missing, *waves], axis=1), posinf=0.0, neginf=0.0)
        categories = np.stack(
            [
                self._category(pd.Series(frame[name]), name, 2 * position)
                for position, name in enumerate(features.categorical)
            ],
            axis=1,
        )
        return {NUMERIC: numbers.astype(np.float32), CATEGORICAL: categories}

    def _roots(self, frame: pd.DataFrame) -> np.ndarray:
        values = frame[list(self._features.numeric)].to_numpy(np.float64)
        heavy = [name in self._features.heavy_tailed for name in self._features.numeric]
        return np.where(heavy, np.sign(values) * np.sqrt(np.abs(values)), values)

    def _category(self, column: pd.Series, name: str, first: int) -> np.ndarray:
        """Rows of the embedding: the first is that of a missing value, the second that of an unseen one."""
        after = 2 * len(self._features.categorical)
        known: Any = column.dropna().unique()
        rows = {value: self._rows[f"{name}={value}"] + after for value in known if f"{name}={value}" in self._rows}
        return np.where(column.isna(), first, column.map(rows).fillna(first + 1)).astype(np.int64)


def main() -> None:
    """Does it all, and writes what was done into ``result.json``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--data", type=Path, required=True, help="train/ and eval/ with Parquet files of the columns")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    watch = Stopwatch()
    settings = read_settings(options.config, options.overrides)
    features = FeatureSettings.model_validate(settings.features.model_dump())
    model = ModelSettings.model_validate(settings.model.model_dump())
    label = settings.contract().label
    watch.lap("imports")

    train, evaluation = (
        pq.read_table(sorted(Path(options.data, split).glob("*.parquet"))).to_pandas() for split in ("train", "eval")
    )
    watch.lap("read")

    statistics = [tfdv.generate_statistics_from_dataframe(frame) for frame in (train, evaluation)]
    watch.lap("statistics")

    transform = Transform(features, train)
    inputs, asked = transform(train), transform(evaluation)
    watch.lap("transform")

    keras.utils.set_random_seed(model.seed)
    rows = category_rows(len(features.categorical), len(transform.vocabulary))
    shape = network.TransformedFeatures(
        inputs[NUMERIC].shape[1], inputs[CATEGORICAL].shape[1], rows, scaled=len(features.numeric)
    )
    net: Any = network.build(model, shape, tasks.head(settings.contract().target))
    steps = -(-len(train) // model.batch_size) * model.epochs
    rate: Any = keras.optimizers.schedules.CosineDecay(model.learning_rate, decay_steps=steps)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=model.weight_decay)
    net.compile(optimizer=optimizer, loss="binary_crossentropy", metrics=[keras.metrics.AUC(name="auc")])
    validation = (asked, evaluation[label].to_numpy())
    labels = train[label].to_numpy()
    net.fit(inputs, labels, model.batch_size, model.epochs, verbose=0, validation_data=validation)
    net.export(str(options.out / "model"), verbose=False)
    watch.lap("train")

    scores = np.asarray(net.predict(asked, batch_size=8192, verbose=0)).reshape(-1)
    slices: list[tuple[Any, pd.Index]] = [("", evaluation.index)]
    for crossed in settings.evaluation.slices:
        slices += list(evaluation.groupby(list(crossed), observed=True).groups.items())
    measured = [_metrics(evaluation[label].to_numpy()[index], scores[index]) for _, index in slices]
    watch.lap("evaluate")

    result = {
        "rows": {"train": len(train), "eval": len(evaluation)},
        "columns": [len(split.datasets[0].features) for split in statistics],
        "epochs": model.epochs,
        "slices": len(slices) - 1,
        "metrics": measured[0],
        "nodes": watch.parts,
    }
    (options.out / "result.json").write_text(json.dumps(result), encoding="utf-8")


def _metrics(labels: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    both = 0 < labels.mean() < 1
    return {
        "auc": float(metrics.roc_auc_score(labels, scores)) if both else float("nan"),
        "log_loss": float(metrics.log_loss(labels, scores, labels=[0, 1])),
        "auc_precision_recall": float(metrics.average_precision_score(labels, scores)) if both else float("nan"),
        "calibration": float(scores.mean() / labels.mean()) if labels.any() else float("nan"),
        "mean_label": float(labels.mean()),
        "mean_prediction": float(scores.mean()),
        "example_count": float(len(labels)),
    }


if __name__ == "__main__":
    main()
