"""SpanExampleGen: columnar ingestion of a window of spans into tf.Example splits."""
