"""Experiments: sweeps, reproductions and comparisons of branches; each ends in runs of the ledger."""
