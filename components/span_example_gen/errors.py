"""What a user is told when a window of spans cannot be ingested."""

from collections.abc import Sequence

from errors import FlightdeckError

MOST_LISTED = 10


class SpanError(FlightdeckError):
    """The spans, their files or the request for them is wrong; the message says what, and what to do."""


def refuse(problems: Sequence[str], where: str) -> None:
    """Raises one error for all problems found, so that a user repairs them in one go.

    Raises:
        SpanError: If there is any problem. At most `MOST_LISTED` are listed, the rest is counted.
    """
    if not problems:
        return
    if len(problems) == 1:
        raise SpanError(f"The {where} cannot be ingested: {problems[0]}.")
    lines = [f"- {problem}" for problem in problems[:MOST_LISTED]]
    if len(problems) > MOST_LISTED:
        lines.append(f"- and {len(problems) - MOST_LISTED} more")
    raise SpanError("\n".join([f"The {where} cannot be ingested, for {len(problems)} reasons:", *lines]))
