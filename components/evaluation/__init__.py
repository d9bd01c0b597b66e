"""Extensions of TFX's Evaluator: evaluation in batches, and metrics that are right in batches."""
