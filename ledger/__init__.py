"""What is known of runs, kept in ML Metadata: records, lineage, comparison. Imports neither TensorFlow nor TFX."""
