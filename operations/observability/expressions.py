"""Holds expressions of Prometheus' query language against the list of metrics, before they get into a file."""

from __future__ import annotations

import re

from operations import metrics

# What Prometheus adds to every series, and `up`, which it makes itself.
_ADDED = ("job", "instance", "le")
_SERIES = {series: metric for metric in metrics.ALL for series in metric.series}
_TEXT = re.compile(r'"[^"]*"')
_NAME = re.compile(r"\b(?:flightdeck|process)_\w+|\bup\b")
_SELECTOR = re.compile(r"(\w+)\{([^}]*)\}")
_MATCHED = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_GROUPED = re.compile(r"\b(?:by|on|ignoring|without|group_left|group_right)\s*\(([^)]*)\)")


def check(expression: str) -> None:
    """Raises a ValueError if an expression names no metric, one that nobody exports, or a label that it lacks."""
    bare = _TEXT.sub('""', expression)
    names = set(_NAME.findall(bare))
    if not names:
        raise ValueError(f"It names no metric of ours: {expression}")
    if unknown := names - {"up", *_SERIES}:
        raise ValueError(f"Nobody exports {', '.join(sorted(unknown))}: {expression}")
    for name, matchers in _SELECTOR.findall(bare):
        _require(set(_MATCHED.findall(matchers)), {name}, expression)
    for labels in _GROUPED.findall(bare):
        _require({label.strip() for label in labels.split(",")} - {""}, names, expression)


def _require(labels: set[str], names: set[str], expression: str) -> None:
    known = {label for name in names if name != "up" for label in _SERIES[name].labels} | set(_ADDED)
    if unknown := labels - known:
        raise ValueError(f"{', '.join(sorted(names))} has no label {', '.join(sorted(unknown))}: {expression}")
