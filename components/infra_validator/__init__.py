"""InfraValidator: the candidate answers real requests in a fresh process before it may be pushed."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from components.infra_validator.component import InfraValidator

__all__ = ["InfraValidator"]


def __getattr__(name: str) -> Any:
    """Loads the component at its first use: the probe imports this package too, and must not pull in TFX."""
    if name == "InfraValidator":
        from components.infra_validator.component import InfraValidator

        return InfraValidator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
