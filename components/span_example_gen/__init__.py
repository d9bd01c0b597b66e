"""SpanExampleGen: columnar ingestion of a window of spans into tf.Example splits."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from components.span_example_gen.component import SpanExampleGen
    from components.span_example_gen.errors import SpanError

__all__ = ["SpanError", "SpanExampleGen"]


def __getattr__(name: str) -> Any:
    """Loads a public name when it is first used: the component pulls in TFX (seconds), its errors do not."""
    if name == "SpanExampleGen":
        from components.span_example_gen.component import SpanExampleGen

        return SpanExampleGen
    if name == "SpanError":
        from components.span_example_gen.errors import SpanError

        return SpanError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
