"""The labs: one source per lab, from which the student's notebook, the solution and the grading all come."""
