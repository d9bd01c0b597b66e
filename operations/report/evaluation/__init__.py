"""What the report shows of how good a model is: one assessor per task, and nothing else in the report asks which."""
