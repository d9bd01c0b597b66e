"""Numbers, times and spans as people read them, on the screen, in the report and in comments alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

NOTHING = "-"
_LONGEST_TEXT = 40


def number(value: float | None) -> str:
    """A figure with as many digits as mean something: whole ones with separators, others and huge ones with four."""
    if value is None:
        return NOTHING
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "infinite"
    if abs(value) >= 1e15:  # floats hold no single units beyond
        return f"{value:.3e}"
    if abs(value) >= 1000 or float(value).is_integer():
        return f"{value:,.0f}"
    return f"{value:.4f}" if 0.001 <= abs(value) < 1 else f"{value:.4g}"


def signed(value: float | None) -> str:
    """A difference, with its sign."""
    if value is None:
        return NOTHING
    if abs(value) >= 1000 or (float(value).is_integer() and abs(value) > 1):
        return f"{value:+,.0f}"
    return f"{value:+.4g}" if abs(value) > 1 else f"{value:+.4f}"


def percent(share: float | None) -> str:
    """A share of one, in per cent."""
    return NOTHING if share is None else f"{share:.1%}".replace("%", "\N{NO-BREAK SPACE}%")


def count(of: int, what: str) -> str:
    """Such as ``1 run`` or ``1,000 runs``."""
    return f"{of:,} {what}{'' if of == 1 else 's'}"


def duration(seconds: float | None) -> str:
    """Such as ``4.2 s``, ``1 min 12 s`` or ``2 h 05 min``."""
    if seconds is None:
        return NOTHING
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def size(of: float | None) -> str:
    """Bytes, in units of 1024."""
    if of is None:
        return NOTHING
    for unit in ("B", "KiB", "MiB"):
        if of < 1024:
            return f"{of:.0f} {unit}" if unit == "B" else f"{of:.1f} {unit}"
        of /= 1024
    return f"{of:.1f} GiB"


def moment(when: datetime) -> str:
    """A time in UTC, to the minute."""
    return f"{when:%Y-%m-%d %H:%M} UTC"


def iso(when: datetime) -> str:
    """A time in UTC as ISO 8601, to the second, as tables sort it and plots read it."""
    return f"{when:%Y-%m-%dT%H:%M:%SZ}"


def interval(of: Any, figure: Callable[[float], str] = number) -> str:
    """The 95 % interval of anything that has `low` and `high`."""
    return NOTHING if of.low is None else f"{figure(of.low)} to {figure(of.high)}"


def local_moment(when: datetime | None) -> str:
    """A time as it was on the clock of this machine, to the minute."""
    return NOTHING if when is None else f"{when.astimezone():%Y-%m-%d %H:%M}"


def excerpt(text: str) -> str:
    """A text on one line: the beginning, if it is longer than names of categories usually are."""
    line = " ".join(text.split())
    if len(line) <= _LONGEST_TEXT:
        return line
    cut = line[: _LONGEST_TEXT - 1]
    whole, _, _ = cut.rpartition(" ")
    return f"{whole or cut}\N{HORIZONTAL ELLIPSIS}"


def spans(numbers: Sequence[int]) -> str:
    """Such as ``3`` or ``1-11``; with gaps, all of them."""
    if not numbers:
        return NOTHING
    low, high = min(numbers), max(numbers)
    if high - low + 1 != len(set(numbers)):
        return ", ".join(map(str, sorted(set(numbers))))
    return str(low) if low == high else f"{low}-{high}"


def fact(value: Any) -> str:
    """Any value of a record, or of a condition, on one line."""
    if isinstance(value, datetime):
        return local_moment(value)
    if isinstance(value, list | tuple):
        return ", ".join(fact(item) for item in value) or "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    return NOTHING if value is None else str(value)


def counts(of: Mapping[str, int]) -> str:
    """How many runs there are of what, such as span 3, 1,500 rows (2 runs); span 4, 1,500 rows (1 run)."""
    return "; ".join(f"{what} ({count(number, 'run')})" for what, number in sorted(of.items()))
