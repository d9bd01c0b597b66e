"""Numbers as people read them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any

from markupsafe import Markup

NOTHING = "\N{EN DASH}"
_LONG_NAME = 12


def number(value: float | None) -> str:
    """A figure with as many digits as mean something: whole ones with separators, others with four digits."""
    if value is None:
        return NOTHING
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "infinite"
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{value:,.0f}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4f}" if 0.001 <= abs(value) < 1 else f"{value:.4g}"


def signed(value: float | None) -> str:
    """A difference, with its sign."""
    return NOTHING if value is None else f"{value:+.4f}"


def percent(share: float | None) -> str:
    """A share of one, in per cent."""
    return NOTHING if share is None else f"{share:.1%}".replace("%", "\N{NO-BREAK SPACE}%")


def breakable(name: str) -> Markup:
    """A name, as HTML, that may be broken after its underscores if it is long."""
    if len(name) <= _LONG_NAME:
        return Markup.escape(name)
    return Markup("<wbr>").join(re.split(r"(?<=_)", name))


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


def spans(numbers: Collection[int]) -> str:
    """Such as ``3`` or ``1-11``; with gaps, each of them."""
    if not numbers:
        return NOTHING
    low, high = min(numbers), max(numbers)
    if high - low + 1 != len(set(numbers)):
        return ", ".join(str(span) for span in sorted(set(numbers)))
    return str(low) if low == high else f"{low}\N{EN DASH}{high}"
