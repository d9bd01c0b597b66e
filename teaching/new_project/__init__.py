"""A new project from a table: what its columns seem to be, how its rows are shared out, and the project's files."""
