"""Deliver what was built: images, compiled pipelines on Kubeflow, promotion from staging, and checks of data."""
