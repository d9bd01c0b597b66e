"""A static site about the runs of a metadata store: opens from disk, and asks no network for anything."""
