"""Makes the model of an earlier run again, and says whether it is the same."""
