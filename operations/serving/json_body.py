"""Reads a JSON body: at the speed of orjson, with the three words for numbers that TensorFlow Serving also takes."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from operations.inference.columns import kind_of
from operations.inference.errors import BadRequestError

# TensorFlow Serving reads and writes these, which JSON itself does not have.
_WORDS = re.compile(rb"NaN|Infinity")
_NESTING = 64


def parse(body: bytes | bytearray | memoryview) -> dict[str, Any]:
    """The object that a body holds.

    Of a key that is there twice, the last one counts. Numbers beyond 64 bits become floats.

    Raises:
        BadRequestError: it is empty, no JSON, nested deeper than any request is, or not an object.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        document = _with_words(bytes(body), error)
    if not isinstance(document, dict):
        raise BadRequestError(f"The body must be a JSON object, not {kind_of(document)}.")
    return document


def _with_words(body: bytes, error: orjson.JSONDecodeError) -> Any:
    if not body.strip():
        raise BadRequestError("The body is empty; a JSON object is needed.") from None
    # Python's own parser is recursive and slow: it gets only what may be valid for it and cannot nest deeply.
    if _WORDS.search(body) and not _nests_deeper_than(body, _NESTING):
        try:
            document = json.loads(body.decode(), parse_float=_number, parse_int=_whole)
            # Half of a pair of surrogates is no text, which Python's parser does not mind.
            orjson.dumps(document)
            return document
        except (ValueError, TypeError, OverflowError, RecursionError):  # UnicodeDecodeError is a ValueError.
            pass
    text = str(error)
    raise BadRequestError(f"The body is not valid JSON: {text[:200]}.") from None


def _number(text: str) -> float:
    # orjson refuses a number that is too large for a double; so does this, or 1e999 would pass as Infinity.
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"the number {text[:20]} is too large")
    return value


def _whole(text: str) -> int | float:
    # As orjson does with what does not fit into 64 bits.
    value = int(text)
    return value if -(2**63) <= value < 2**64 else float(value)


def _nests_deeper_than(body: bytes, limit: int) -> bool:
    depth = deepest = 0
    for byte in re.finditer(rb"[\[\]{}]", body):
        depth += 1 if byte[0] in b"[{" else -1
        deepest = max(deepest, depth)
        if deepest > limit:
            return True
    return False
