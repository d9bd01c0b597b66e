"""Plays the past month by month under each level of maturity, and measures what each one is worth."""
