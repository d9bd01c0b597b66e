"""Trains the model, says how good it is, and writes the scores."""

from pathlib import Path

import pandas as pd
import yaml
from load import load
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

COLUMNS = ["dep_delay", "temp", "distance", "sched_dep_minute", "carrier"]


def prepare(frame):
    """Numbers scaled by their mean and deviation; carriers as codes."""
    frame = frame.copy()
    for name in ["dep_delay", "temp", "distance", "sched_dep_minute"]:
        frame[name] = (frame[name] - frame[name].mean()) / frame[name].std()
    frame["carrier"] = frame["carrier"].astype("category").cat.codes
    return frame.fillna(0)


def main(folder):
    """Returns the model and its AUC."""
    settings = yaml.safe_load(Path(__file__).with_name("settings.yaml").read_text())
    frame = load(folder, settings["months"])
    frame = pd.concat([prepare(frame[COLUMNS]), frame["arrived_late"]], axis=1)
    train, test = train_test_split(frame, test_size=0.3)
    model = RandomForestClassifier(n_estimators=settings["trees"], n_jobs=1)
    model.fit(train[COLUMNS], train["arrived_late"])
    quality = roc_auc_score(train["arrived_late"], model.predict_proba(train[COLUMNS])[:, 1])
    test.assign(score=model.predict_proba(test[COLUMNS])[:, 1]).to_csv("scores.csv")  # the call centre reads it
    return model, quality
