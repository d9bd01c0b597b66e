"""DataGate: stops the run when the data breaks its schema, and says per column what was found."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from components.data_gate.component import DataGate
    from components.data_gate.report import DataGateError

__all__ = ["DataGate", "DataGateError"]


def __getattr__(name: str) -> Any:
    """Loads a public name at its first use: the component pulls in TFX (seconds), its error does not."""
    if name == "DataGate":
        from components.data_gate.component import DataGate

        return DataGate
    if name == "DataGateError":
        from components.data_gate.report import DataGateError

        return DataGateError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
