"""The service beside KServe's and MLServer's Python servers, with the same SavedModel on one core."""
