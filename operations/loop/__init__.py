"""The loop that keeps a model good: what makes it train, one run at a time, and what it does on its own."""
