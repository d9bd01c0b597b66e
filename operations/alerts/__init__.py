"""Tells people what needs them: an outbox that loses nothing, and the channels that it is emptied into."""
