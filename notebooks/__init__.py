"""The labs, one folder each, and the few modules that they share."""
