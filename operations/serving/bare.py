"""What the service is measured against: the model's own signature, called in a loop by a process of its own.

Run as `python -m operations.serving.bare`. It reads one line of JSON from standard input (`model`, the folder of the
SavedModel; `threads`; `seconds`; `batches`, for each batch size a list of lists of rows) and writes one line of JSON:
for each batch size the milliseconds of every call, by TensorFlow's signature and by the session that the service uses.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from operations.inference import columns
from operations.inference.columns import Columns
from operations.inference.model import RAW, load
from operations.inference.tensorflow_import import tensorflow

_WARM_UP_CALLS = 20


def main() -> None:
    """Measures."""
    screen = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    tf = tensorflow()
    task = json.loads(sys.stdin.readline())
    # The same threads as the service has.
    tf.config.threading.set_intra_op_parallelism_threads(task["threads"] or 0)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    session = load(Path(task["model"]), 0, task["threads"])
    signature = tf.saved_model.load(task["model"]).signatures[RAW]

    def bare(arrays: Columns) -> dict[str, Any]:
        tensors = {name: tf.constant(values) for name, values in arrays.items()}
        return {name: values.numpy() for name, values in signature(**tensors).items()}

    result = {}
    for batch in task["batches"]:
        arrays = [columns.from_rows(rows, session.inputs) for rows in batch]
        result[str(len(batch[0]))] = {
            "signature": _milliseconds(bare, arrays, task["seconds"]),
            "session": _milliseconds(session.predict, arrays, task["seconds"]),
        }
    print(json.dumps(result), file=screen, flush=True)


def _milliseconds(call: Callable[[Columns], Any], arrays: Sequence[Columns], seconds: float) -> list[float]:
    for index in range(_WARM_UP_CALLS):
        call(arrays[index % len(arrays)])
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while (started := time.perf_counter()) < end:
        call(arrays[len(taken) % len(arrays)])
        taken.append((time.perf_counter() - started) * 1000)
    return taken


if __name__ == "__main__":
    main()
