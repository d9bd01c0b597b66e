"""The marker of a quarantine: a file of this name in a span's folder keeps the span out of every window.

What the file says is for people. The data stays where it is, and comes back when the marker is removed.
"""

QUARANTINE = "_QUARANTINE"
