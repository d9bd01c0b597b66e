"""To which span a row of a table belongs: a period of the calendar, a stretch of time, or a part by chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from data.table import TableError, column, digests, moments, numbers, require_near

if TYPE_CHECKING:
    import pandas as pd

Period = Literal["month", "quarter", "year"]
_MONTHS: dict[Period, int] = {"month": 1, "quarter": 3, "year": 12}


@dataclass(frozen=True)
class Periods:
    """One span per month, quarter or year, in UTC. New data go into new spans; old ones stay as they are.

    Attributes:
        column: Of moments.
        period: Its length.
        first: The month in which span 1 begins, such as ``2013-01``.
    """

    column: str
    period: Period
    first: str

    def __call__(self, frame: pd.DataFrame) -> pd.Series:
        """Returns the number of each row's span.

        Raises:
            TableError: If a moment is missing, before the first span, or too far away to order rows.
        """
        when: Any = moments(column(frame, self.column))
        _require(when, self.column)
        require_near(when, self.column)
        year, month = map(int, self.first.split("-"))
        months = (when.dt.year - year) * 12 + when.dt.month - month
        if (months < 0).any():
            raise TableError(f"'{self.column}' reaches back to {when.min()}, before span 1, which begins {self.first}.")
        return months // _MONTHS[self.period] + 1


@dataclass(frozen=True)
class Parts:
    """Stretches of time with about equally many rows: for data whose periods of the calendar are too few or too small.

    Attributes:
        column: Of moments, or of numbers that grow with time.
        starts: Where span 2, span 3 and so on begin, in ascending order; what comes later is in the last one.
    """

    column: str
    starts: Sequence[str | float]

    def __call__(self, frame: pd.DataFrame) -> pd.Series:
        """Returns the number of each row's span.

        Raises:
            TableError: If a value is missing, or a moment too far away to order rows.
        """
        import numpy as np
        import pandas as pd

        if isinstance(self.starts[0], str):
            values = moments(column(frame, self.column))
            require_near(values, self.column)
            starts = pd.to_datetime(pd.Series(list(self.starts)), utc=True, format="ISO8601")
            edges, points = (moments_of.dt.as_unit("ns").astype("int64").to_numpy() for moments_of in (starts, values))
        else:
            values = numbers(column(frame, self.column))
            edges, points = np.asarray(self.starts, "float64"), values.to_numpy()
        _require(values, self.column)
        return pd.Series(np.searchsorted(edges, points, side="right") + 1, index=frame.index)


@dataclass(frozen=True)
class Hashed:
    """Parts by chance, for data without time: by a hash of the columns that identify a row or a group of rows.

    The last part then tells how the model does on other rows of the same population, not on later ones. With a hash,
    the same row is in the same part whatever is added to the file, and no group is trained on and evaluated on at once.
    """

    columns: Sequence[str]
    parts: int

    def __call__(self, frame: pd.DataFrame) -> pd.Series:
        """Returns the number of each row's span."""
        return digests(frame, self.columns).map(lambda digest: int.from_bytes(digest[:8]) % self.parts + 1)


def _require(values: pd.Series, column: str) -> None:
    if values.isna().any():
        raise TableError(f"'{column}' is missing in {int(values.isna().sum())} rows, which then belong to no span.")
