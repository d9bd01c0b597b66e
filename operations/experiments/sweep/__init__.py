"""A sweep: trials of hyperparameters around a run, by several workers that share nothing but the metadata store."""
