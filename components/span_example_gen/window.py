"""A window of spans: which spans are asked for, which are there, and which split each one goes to."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from components.span_example_gen.errors import SpanError, refuse

TRAIN_SPLIT = "train"
EVAL_SPLIT = "eval"
ONLY_SPLIT = "all"
# A file of this name in a span's folder keeps the span out of every window until it is removed; its text is for people.
QUARANTINE = "_QUARANTINE"

_EDGE = re.compile(r"(?P<number>[0-9]+)|(?P<oldest>oldest)|newest(?:-(?P<back>[0-9]+))?")


@dataclass(frozen=True)
class Window:
    """An inclusive range of spans, `FIRST:LAST`; `text` is as the user wrote it."""

    text: str
    first: re.Match[str]
    last: re.Match[str]

    @classmethod
    def parse(cls, text: str) -> "Window":
        """Reads `FIRST:LAST`, each side a span number, `oldest`, `newest` or `newest-K`.

        Raises:
            SpanError: If the text is anything else.
        """
        sides = [side for part in text.split(":") if (side := _EDGE.fullmatch(part.strip()))]
        if len(sides) != 2 or text.count(":") != 1:
            raise SpanError(
                f"The window {text!r} is not of the form FIRST:LAST; write each side as a span number, "
                "oldest, newest or newest-K, for example 1:12 or newest-5:newest."
            )
        return cls(text, *sides)

    def resolve(self, available: Sequence[int], base: str, left_out: Collection[int] = ()) -> list[int]:
        """Returns the ascending span numbers of the window, without those in quarantine (`left_out`).

        Raises:
            SpanError: If there are no spans, the window runs backwards, reaches beyond what is there, has a gap,
                or all of it is in quarantine.
        """
        if not available:
            raise SpanError(f"There is no span in {base}; it should hold folders named span-001, span-002, ….")
        usable = [span for span in available if span not in left_out]
        if not usable:
            raise SpanError(
                f"Every span in {base} is in quarantine; release one with: flightdeck data quarantine --release SPAN"
            )
        first, last = (_edge(side, usable, left_out) for side in (self.first, self.last))
        oldest, newest = available[0], available[-1]
        problems = []
        if first > last:
            problems.append(f"it runs backwards, from span {first} to span {last}; put the older span first")
        if first < oldest:
            problems.append(f"it begins at span {first}, but the oldest span there is {oldest}")
        if last > newest:
            problems.append(f"it ends at span {last}, but the newest span there is {newest}")
        gap = sorted(set(range(max(first, oldest), min(last, newest) + 1)) - set(available))
        if gap:
            before = max(span for span in available if span < gap[0])
            after = min(span for span in available if span > gap[-1])
            missing = f"span {gap[0]} is" if len(gap) == 1 else f"spans {_listed(gap)} are"
            problems.append(
                f"{missing} missing between {before} and {after}; add the data or choose a window without a gap"
            )
        spans = [span for span in usable if first <= span <= last]
        if not problems and not spans:
            problems.append("all of it is in quarantine; choose another window, or release a span")
        refuse(problems, f"window {self.text} of {base}")
        return spans


def split_spans(spans: Sequence[int], eval_spans: int, window: str) -> dict[str, list[int]]:
    """Returns the ascending span numbers per split: by time, for a random split would leak the future into training.

    With `eval_spans` 0 all spans are in one split, `all`.

    Raises:
        SpanError: If no span is left for training.
    """
    if eval_spans == 0:
        return {ONLY_SPLIT: list(spans)}
    if len(spans) <= eval_spans:
        raise SpanError(
            f"The window {window} leaves no span for training, because it holds {len(spans)} and the newest "
            f"{eval_spans} are for evaluation; widen the window or lower eval_spans."
        )
    return {TRAIN_SPLIT: list(spans[:-eval_spans]), EVAL_SPLIT: list(spans[-eval_spans:])}


def _edge(side: re.Match[str], usable: Sequence[int], left_out: Collection[int]) -> int:
    """Returns the span that is meant; counting back from the newest passes over those in quarantine."""
    if side["number"]:
        return int(side["number"])
    if side["oldest"]:
        return usable[0]
    span, back = usable[-1], int(side["back"] or 0)
    while back:
        span -= 1
        back -= span not in left_out
    return span


def _listed(spans: Sequence[int]) -> str:
    if len(spans) > 2 and len(spans) == spans[-1] - spans[0] + 1:
        return f"{spans[0]} to {spans[-1]}"
    return " and ".join(filter(None, [", ".join(map(str, spans[:-1])), str(spans[-1])]))
