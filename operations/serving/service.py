"""The service without a protocol: versions, batches, metrics and the log of payloads, put together.

The modules of the protocols parse a request, ask here, and format the answer:

    with service.using(version) as model:
        arrays = columns.from_rows(rows, model.inputs)
        answer = await service.predict(model, arrays)

The model stays loaded, and its inputs are the same, until the block is left, whatever is pushed meanwhile.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from operations.serving.columns import Columns
from operations.serving.metrics import Metrics
from operations.serving.model import RAW, LoadedModel
from operations.serving.versions import VersionStatus

if TYPE_CHECKING:
    from pipeline.settings import Serving


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the model said.

    Attributes:
        version: of the model that answered.
        outputs: per output an array whose first size is the number of rows.
        prediction_ids: one per row, in the order of the rows.
    """

    version: int
    outputs: Columns
    prediction_ids: Sequence[str]


class Service:
    """Answers from the newest loaded version in a folder of numbered versions.

    All methods are for the thread of one event loop.

    Attributes:
        name: the name of the model.
        settings: the limits and so on; protocols read `max_body_bytes` and `max_rows`.
        metrics: what Prometheus is told. Protocols call `metrics.answered` once per request.
    """

    def __init__(self, name: str, folder: Path, settings: Serving) -> None:
        """Makes a service that is not started yet.

        Args:
            name: the name of the model in addresses.
            folder: holds the numbered versions.
            settings: the section ``serving``.
        """
        self.name = name
        self.settings = settings
        self.metrics = Metrics()

    async def start(self) -> None:
        """Loads and warms up the newest version that can be served, then watches the folder.

        Raises:
            ServingError: there is no folder, no version in it, or none that loads.
        """
        raise NotImplementedError

    def refuse(self) -> None:
        """Makes `ready` false, for a load balancer to see; requests are still answered. The first step of an end."""
        raise NotImplementedError

    async def stop(self) -> None:
        """Answers what was asked before, writes the payloads that wait, unloads everything. May be called twice."""
        raise NotImplementedError

    @property
    def ready(self) -> bool:
        """Whether requests should be sent here: a version is loaded and the service is not stopping."""
        raise NotImplementedError

    @property
    def versions(self) -> list[VersionStatus]:
        """The state of every version that was seen, newest first."""
        raise NotImplementedError

    def status(self, version: int) -> VersionStatus:
        """Returns the state of one version.

        Raises:
            UnknownModelError: it was never seen.
        """
        raise NotImplementedError

    @contextmanager
    def using(self, version: int | None = None) -> Iterator[LoadedModel]:
        """Keeps a version loaded for the length of a block.

        Args:
            version: the number; None is the newest.

        Raises:
            UnknownModelError: that version is not loaded.
            NotReadyError: no version is.
        """
        raise NotImplementedError
        yield

    async def predict(
        self,
        model: LoadedModel,
        columns: Columns,
        signature: str = RAW,
        prediction_ids: Sequence[str] | None = None,
    ) -> Answer:
        """Lets a model answer, together with other requests that wait for it.

        Args:
            model: from `using`.
            columns: the arrays as `columns.from_rows` and its siblings make them; for the signature
                `serving_default`, its one input with serialised tf.Examples (objects, bytes) [rows].
            signature: which to ask.
            prediction_ids: one per row, given by the client; None makes some.

        Raises:
            TooLargeError: more rows than `max_rows`.
            UnprocessableError: no row, a wrong number of prediction ids, or values that the graph refuses.
            NotReadyError: too many rows wait already, or the service has stopped.
        """
        raise NotImplementedError

    def check_rows(self, rows: int) -> None:
        """Refuses a request by its number of rows, before they are read.

        Raises:
            TooLargeError: more than `max_rows`.
        """
        raise NotImplementedError
