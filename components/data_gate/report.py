"""What the gate found, and how it is told."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from errors import FlightdeckError

ERROR = "error"
WARNING = "warning"
NEVER = "never"

# Which severities close the gate, by its setting.
_CLOSING = {ERROR: {ERROR}, WARNING: {ERROR, WARNING}, NEVER: set()}
SETTINGS = tuple(_CLOSING)

WHOLE_SPLIT = "(whole split)"
_MOST_LINES = 20


class DataGateError(FlightdeckError):
    """The data breaks its schema; the text is the report."""


@dataclass(frozen=True)
class Finding:
    """One rule that one column of one split breaks."""

    severity: str
    split: str
    column: str
    rule: str
    found: str

    def __str__(self) -> str:
        """Returns the finding as one line."""
        return f"{self.severity}: {self.split}: {self.column}: {self.rule}: {self.found}"


@dataclass(frozen=True)
class Examined:
    """The size of a split: number of examples (rows) and of columns."""

    examples: int
    columns: int


@dataclass(frozen=True)
class Report:
    """All findings of a run, errors first; the gate closes from `setting` on: `error`, `warning` or `never`."""

    setting: str
    splits: Mapping[str, Examined]
    findings: tuple[Finding, ...]

    @classmethod
    def of(cls, setting: str, splits: Mapping[str, Examined], findings: Iterable[Finding]) -> Report:
        """Builds a report with its findings in order, without repetitions."""
        ordered = sorted(set(findings), key=lambda f: (f.severity != ERROR, f.split, f.column, f.rule, f.found))
        return cls(setting, dict(splits), tuple(ordered))

    @property
    def closed(self) -> bool:
        """Whether the gate is closed: the run must stop."""
        return any(finding.severity in _CLOSING[self.setting] for finding in self.findings)

    def count(self, severity: str) -> int:
        """Returns the number of findings of a severity."""
        return sum(finding.severity == severity for finding in self.findings)

    def text(self, most_lines: int | None = None) -> str:
        """Returns the report for people, with at most so many findings; the rest is counted."""
        if not self.findings:
            return f"The data conforms to its schema. {self._examined()}"
        shown = self.findings[:most_lines]
        rest = len(self.findings) - len(shown)
        return "\n".join(
            [
                f"The data breaks its schema: {_plural(self.count(ERROR), 'error')}, "
                f"{_plural(self.count(WARNING), 'warning')}. {self._examined()}",
                *(f"  {finding}" for finding in shown),
                *([f"  and {rest} more"] if rest else []),
            ]
        )

    def json(self) -> str:
        """Returns the report for programs."""
        content = {
            "severity": self.setting,
            "errors": self.count(ERROR),
            "warnings": self.count(WARNING),
            "splits": {name: asdict(examined) for name, examined in sorted(self.splits.items())},
            "findings": [asdict(finding) for finding in self.findings],
        }
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"

    def require_open(self) -> None:
        """Raises `DataGateError`, with the report, if the gate is closed."""
        if self.closed:
            raise DataGateError(
                f"{self.text(_MOST_LINES)}\nCorrect the data; or, if the data is right, change the schema."
            )

    def _examined(self) -> str:
        sizes = [
            f"{name} {examined.examples:,} examples of {_plural(examined.columns, 'column')}"
            for name, examined in sorted(self.splits.items())
        ]
        return f"Examined: {', '.join(sizes) or 'nothing'}."


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
