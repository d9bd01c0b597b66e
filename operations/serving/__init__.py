"""The prediction service: one process that answers over HTTP and gRPC from a folder of numbered versions."""
