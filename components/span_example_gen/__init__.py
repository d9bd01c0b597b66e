"""SpanExampleGen: columnar ingestion of a window of spans into splits of examples."""
