"""Custom TFX components; each works without the rest of this project."""
