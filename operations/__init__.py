"""The life of a model after a run: what happened, and what to do next."""
