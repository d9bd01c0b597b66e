"""A new project from a table: what its columns seem to be, how its rows are split into spans, and its files."""
