"""A new version beside the served one: what is seen of both on the same requests, and whether it may take over."""
