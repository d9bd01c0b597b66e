"""Watches a served model: what is seen in a window of requests, and what is to be done about it."""
