"""The model: features, preprocessing, network, input, training, tuning and serving signatures; no orchestration."""
