"""The dataset: its contract, its preparation into monthly spans, its curated schema and its data card."""
