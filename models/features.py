"""Which raw columns the model reads, and how each one is turned into numbers."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from errors import FlightdeckError

if TYPE_CHECKING:
    from data.contract import Contract

Period = Annotated[float, Field(gt=0)]


class FeatureSettings(BaseModel):
    """The raw columns of the model and their treatment. A use case names them in its settings file.

    Attributes:
        numeric: Numeric columns (float32 or int64), scaled to zero mean and unit variance over the known values.
        heavy_tailed: Those of ``numeric`` whose signed square root is scaled instead of the value.
        missing_indicators: Those of ``numeric`` and ``cyclic`` whose absence is told to the model as a number of
            its own. A missing value itself always becomes the mean, or no wave.
        clip: Scaled values are clipped to plus or minus this many standard deviations.
        cyclic: Columns that wrap around (minutes of a day, degrees), with their period in the unit of the column.
            They need not be in ``numeric``, which would tear their ends apart.
        harmonics: Sines and cosines per cyclic column.
        categorical: String or int64 columns, looked up in the vocabulary.
        vocabulary_min_count: A category seen less often than this in training counts as unseen.
        text: String columns of free text, split into words; a word's hash picks one of the buckets of its column.
        text_buckets: Buckets per text column; words that share one cannot be told apart.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    numeric: tuple[str, ...] = ()
    heavy_tailed: tuple[str, ...] = ()
    missing_indicators: tuple[str, ...] = ()
    clip: float = Field(default=5.0, gt=0)
    cyclic: dict[str, Period] = {}
    harmonics: int = Field(default=6, ge=1)
    categorical: tuple[str, ...] = ()
    vocabulary_min_count: int = Field(default=10, ge=1)
    text: tuple[str, ...] = ()
    text_buckets: int = Field(default=256, ge=2)

    @model_validator(mode="after")
    def _consistent(self) -> FeatureSettings:
        for field in ("numeric", "heavy_tailed", "missing_indicators", "categorical", "text"):
            twice = [name for name, count in Counter(getattr(self, field)).items() if count > 1]
            if twice:
                raise ValueError(f"column '{twice[0]}' is listed twice in {field}; remove one")
        for field, allowed_in, allowed in (
            ("heavy_tailed", "numeric", self.numeric),
            ("missing_indicators", "numeric or cyclic", self.measured),
        ):
            unknown = [name for name in getattr(self, field) if name not in allowed]
            if unknown:
                raise ValueError(f"column '{unknown[0]}' of {field} is not in {allowed_in}; add it there or remove it")
        both = [name for name in self.categorical if name in self.measured]
        if both:
            raise ValueError(f"column '{both[0]}' is both a number and a category; choose one")
        both = [name for name in self.text if name in (*self.measured, *self.categorical)]
        if both:
            raise ValueError(f"column '{both[0]}' is both text and a number or a category; choose one")
        if not self.inputs:
            raise ValueError("the model reads no column; name at least one in numeric, cyclic, categorical or text")
        return self

    @property
    def measured(self) -> tuple[str, ...]:
        """The columns that are read as numbers: the numeric ones, then the cyclic ones not among them."""
        return (*self.numeric, *(name for name, _ in self.cycles if name not in self.numeric))

    @property
    def cycles(self) -> tuple[tuple[str, float], ...]:
        """The cyclic columns and their periods, by name: TFX does not keep the order of a mapping."""
        return tuple(sorted(self.cyclic.items()))

    @property
    def inputs(self) -> list[str]:
        """All raw columns that the model reads, in a fixed order without duplicates."""
        return [*self.measured, *self.categorical, *self.text]

    def check(self, contract: Contract) -> None:
        """Refuses features that the contract does not allow.

        Raises:
            InfeasibleFeatureError: If a column is unknown, the label, or not known when a prediction is made.
            FlightdeckError: If a text column is used as a number, a number as text, a decimal one as a category, or a
                column is not ingested.
        """
        contract.require_feasible(self.inputs)
        ingested = contract.ingested(labelled=False)
        for name in self.inputs:
            if name not in ingested:
                raise FlightdeckError(f"column '{name}' is not ingested; give it the role feature in the contract")
        for name in self.measured:
            if ingested[name] == "string":
                raise FlightdeckError(
                    f"column '{name}' holds text, not numbers; move it to features.categorical or text"
                )
        for name in self.categorical:
            if ingested[name] == "float32":
                raise FlightdeckError(
                    f"column '{name}' holds decimal numbers, not categories; move it to features.numeric"
                )
        for name in self.text:
            if ingested[name] != "string":
                raise FlightdeckError(f"column '{name}' holds numbers, not text; move it to features.numeric")
