"""The registry: numbered, immutable versions of the model, and how an earlier one comes back."""

from operations.registry.registry import Registry
from operations.registry.version import Change, RegistryError, Version

__all__ = ["Change", "Registry", "RegistryError", "Version"]
