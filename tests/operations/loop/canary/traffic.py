"""Requests in a payload log, and labels in spans, without a server."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from data.contract import Contract
from operations.inference import payload_log, payload_table
from tests.world import ROOT

DAY = datetime(2013, 7, 1, tzinfo=UTC)
CONTRACT = Contract.load(ROOT / "data" / "contract.yaml")


def answer(
    log: Path,
    version: int,
    names: list[str],
    predictions: np.ndarray,
    day: datetime = DAY,
    shadow: bool = False,
    seconds: float = 0.01,
    output: str = "probability",
) -> None:
    """A version answers requests of these names, a second apart from each other, from the beginning of a day."""
    rows = {
        payload_table.ID: names,
        payload_table.TIME: [day + timedelta(seconds=number) for number in range(len(names))],
        payload_table.VERSION: np.full(len(names), version),
        payload_table.SHADOW: np.full(len(names), shadow),
        payload_table.SECONDS: np.full(len(names), seconds, np.float32),
        output: list(np.asarray(predictions, np.float32)),
    }
    write_log(log, rows, f"{version}-{day:%Y%m%d}-{'shadow' if shadow else 'served'}")


def write_log(log: Path, rows: Mapping[str, Any], name: str) -> None:
    """Rows by the column of a payload log, ids and times first, as one of its files."""
    table = pa.Table.from_pandas(pd.DataFrame(rows), preserve_index=False)
    table = table.set_column(1, payload_table.TIME, table[payload_table.TIME].cast(pa.timestamp("us", tz="UTC")))
    payload_log.write(log, table, name)


def label(
    spans: Path, span: int, names: list[str], labels: np.ndarray, contract: Contract = CONTRACT, **columns
) -> Path:
    """The labels of requests arrive with a span."""
    folder = spans / f"span-{span:03d}"
    folder.mkdir(parents=True)
    rows = {name: np.zeros(len(names)) for name in contract.ingested()}
    (key,) = contract.row_key
    pd.DataFrame({**rows, **columns, key: names, contract.label: labels}).to_parquet(folder / "rows.parquet")
    return folder


def world(rows: int, noise: float = 0.0, seed: int = 1) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Names of requests, what a calibrated model answers, what one with noise does, and the labels."""
    random = np.random.default_rng(seed)
    odds = random.normal(-1, 1, rows)
    names = [f"r{seed}-{number}" for number in range(rows)]
    good, noisy = (1 / (1 + np.exp(-each)) for each in (odds, odds + noise * random.normal(size=rows)))
    return names, good, noisy, (random.random(rows) < good).astype(int)
