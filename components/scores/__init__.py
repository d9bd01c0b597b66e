"""Scores: what the model says about each row of the evaluation split, and which columns that depends on."""
