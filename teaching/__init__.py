"""Teaching: the machinery of the labs, and new projects from a table."""
