"""Batch prediction: files of rows in, a file of probabilities out, in the same order."""
