"""What can be wrong with a model or examples that are to be scored."""

from errors import FlightdeckError


class ScoresError(FlightdeckError):
    """The rows cannot be scored; the text is one sentence that says why."""
