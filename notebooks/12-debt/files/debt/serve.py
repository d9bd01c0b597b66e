"""Answers for one row at a time."""

import pandas as pd
from load import load

CARRIERS = ["9E", "AA", "B6", "DL", "EV", "MQ", "UA", "US", "WN"]


def prepare(row):
    """The same as in train.py, by hand."""
    ready = {"dep_delay": 0.0}
    ready["temp"] = (row["temp"] - 60) / 20
    ready["distance"] = (row["distance"] - 1000) / 700
    ready["sched_dep_minute"] = (row["sched_dep_minute"] - 800) / 280
    ready["carrier"] = CARRIERS.index(row["carrier"]) if row["carrier"] in CARRIERS else -1
    return ready


def answer(model, row):
    """The probability that a flight is late."""
    return model.predict_proba(pd.DataFrame([prepare(row)]))[0, 1]


def answer_month(model, folder, month):
    """The same for a month."""
    return [answer(model, row) for _, row in load(folder, [month]).iterrows()]
