"""Rows as serialised tf.Examples, as an example generator writes them."""

from collections.abc import Mapping
from typing import Any


def example(row: Mapping[str, Any]) -> Any:
    """Returns a tf.Example; None, and an empty list, are a feature without a value."""
    import tensorflow as tf

    message = tf.train.Example()
    for name, value in row.items():
        values = [] if value is None else value if isinstance(value, list) else [value]
        feature = message.features.feature[name]
        if not values:
            continue
        if isinstance(values[0], float):
            feature.float_list.value.extend(values)
        elif isinstance(values[0], int):
            feature.int64_list.value.extend(values)
        else:
            feature.bytes_list.value.extend(value.encode() if isinstance(value, str) else value for value in values)
    return message
