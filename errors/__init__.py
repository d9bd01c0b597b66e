"""What is wrong with what a user gave: one base class, below every other package, so that all may raise it."""


class FlightdeckError(ValueError):
    """Something that a user can mend. Its message is one sentence: what is wrong, where, and what to do.

    The command line prints the message and exits with code 2; a Python error of any other kind is a bug, and shows its
    traceback. A use case of one's own raises it, or a subclass, for what is wrong with its data or settings.
    """
