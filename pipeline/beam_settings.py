"""The section `beam` of the settings: on which engine the data-parallel components run, and with which arguments."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from pipeline.section import Section

Engine = Literal["local", "flink"]
BeamComponent = Literal["SpanExampleGen", "StatisticsGen", "Transform", "Evaluator", "BulkInferrer"]
_ENDPOINT = re.compile(r"([^\s:/\[\]]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}")
_RUNNER = re.compile(r"--runner[= ](\S+)")


def _endpoint(address: str) -> str:
    if not _ENDPOINT.fullmatch(address):
        raise ValueError("it must be HOST:PORT")
    return address


Endpoint = Annotated[str, AfterValidator(_endpoint)]  # with an address of IPv6 in brackets


class Flink(Section):
    """A Flink cluster behind a Beam job server, or any other job server that speaks Beam's Job API."""

    job_endpoint: Endpoint = Field(description="HOST:PORT of the Beam job server.")
    artifact_endpoint: Endpoint | None = Field(
        default=None, description="HOST:PORT to stage files at; default: what the job server says."
    )
    parallelism: int = Field(default=1, ge=1, description="Number of parallel parts of a job: the slots that it takes.")
    environment_type: Literal["EXTERNAL", "PROCESS"] = Field(
        default="EXTERNAL",
        description="How a TaskManager gets Python workers: from a worker pool, or as its own processes.",
    )
    environment_config: str = Field(
        default="localhost:50000",
        description="Of EXTERNAL: HOST:PORT of the worker pool as each TaskManager sees it, one pool per TaskManager. "
        'Of PROCESS: {"command": SCRIPT}.',
    )
    workers_per_task_manager: int = Field(
        default=1, ge=1, description="Number of Python processes of a TaskManager, such as one per slot."
    )
    environment_cache_millis: int = Field(
        default=30_000, ge=0, description="How long an idle worker is kept for the next stage; 0 starts one per stage."
    )

    def arguments(self) -> tuple[str, ...]:
        """The Beam arguments that run a pipeline there."""
        return (
            # Not FlinkRunner, which is the same with a job endpoint, but cannot cancel a job when it is interrupted.
            "--runner=pipeline.engine.JobServerRunner",
            f"--job_endpoint={self.job_endpoint}",
            *([f"--artifact_endpoint={self.artifact_endpoint}"] if self.artifact_endpoint else []),
            f"--environment_type={self.environment_type}",
            f"--environment_config={self.environment_config}",
            f"--parallelism={self.parallelism}",
            f"--sdk_worker_parallelism={self.workers_per_task_manager}",
            f"--environment_cache_millis={self.environment_cache_millis}",
            "--sdk_container_image=none",
            # Or each job runs pip, to stage a list of the packages here.
            "--experiments=disable_logging_submission_environment",
        )


class FlinkJobs(Section):
    """What the jobs of one component have of their own; the rest is as `beam.flink` says."""

    parallelism: int | None = Field(default=None, ge=1, description="As in `beam.flink`.")
    workers_per_task_manager: int | None = Field(default=None, ge=1, description="As in `beam.flink`.")
    environment_cache_millis: int | None = Field(default=None, ge=0, description="As in `beam.flink`.")

    @model_validator(mode="after")
    def _something_differs(self) -> Self:
        if not self.model_dump(exclude_none=True):
            raise ValueError("nothing differs from `beam.flink`; give parallelism or another value, or write `flink`")
        return self


def _kind_of_engine(value: Any) -> str:
    """Which of its forms a value of `beam.components` has, so that only what is wrong with that one is said.

    In brackets, which `pipeline.settings_file` leaves out of the key.
    """
    return (
        "<jobs>" if isinstance(value, dict | FlinkJobs) else "<args>" if isinstance(value, list | tuple) else "<name>"
    )


# Of a single component: an engine by its name, the engine `flink` with other values, or arguments of Beam.
ComponentEngine = Annotated[
    Annotated[Engine, Tag("<name>")] | Annotated[FlinkJobs, Tag("<jobs>")] | Annotated[tuple[str, ...], Tag("<args>")],
    Discriminator(_kind_of_engine),
]


class Beam(Section):
    """Where the data-parallel components run; by default in the process of their node.

    It is no part of a cache key: results are reused whatever engine made them.
    """

    engine: Engine = Field(
        default="local",
        description="`local`: as `args` say, by default in the node's process; `flink`: as `flink` says.",
    )
    flink: Flink | None = Field(default=None, description="The cluster of the engine `flink`.")
    args: tuple[str, ...] = Field(
        # Not DirectRunner: it tries to download another runner in every component. In memory: threads cost 45 % more
        # CPU and gain nothing. No SDK container: or each component builds a source distribution of this project.
        default=("--runner=FnApiRunner", "--direct_running_mode=in_memory", "--sdk_container_image=none"),
        description="Beam arguments of the engine `local`; they can name any other runner, such as Dataflow.",
    )
    components: dict[BeamComponent, ComponentEngine] = Field(
        default={},
        description="Of single components: node -> another engine, its arguments, or values of `flink` that differ.",
    )

    @model_validator(mode="after")
    def _one_engine(self) -> Self:
        if self.engine == "flink" and self.args != type(self).model_fields["args"].default:
            raise ValueError("both engine `flink` and args are given; leave one out, since args are another engine's")
        on_flink = [chosen for chosen in (self.engine, *self.components.values()) if _on_flink(chosen)]
        if self.flink is None and on_flink:
            raise ValueError("the engine `flink` needs flink.job_endpoint, the HOST:PORT of its Beam job server")
        return self

    def arguments(self, component: str | None = None) -> tuple[str, ...]:
        """The Beam arguments of a component; without one, of all that have no engine or arguments of their own."""
        if (flink := self.flink_of(component)) is not None:
            return flink.arguments()
        chosen = self._chosen(component)
        return chosen if isinstance(chosen, tuple) else self.args

    def flink_of(self, component: str | None = None) -> Flink | None:
        """The cluster as a component uses it; without one, as all others do; None: not at all."""
        chosen = self._chosen(component)
        if self.flink is None or not _on_flink(chosen):
            return None
        own = chosen.model_dump(exclude_none=True) if isinstance(chosen, FlinkJobs) else {}
        return self.flink.model_copy(update=own)

    def engine_of(self, component: str) -> str | None:
        """What a component runs on: ``local``, ``flink``, or the Beam runner that its arguments name; None: no Beam."""
        if component not in get_args(BeamComponent):
            return None
        if _on_flink(self._chosen(component)):
            return "flink"
        named = _RUNNER.search(" ".join(self.arguments(component)))
        return "local" if named is None or named[1] == "FnApiRunner" else named[1]

    def _chosen(self, component: str | None) -> ComponentEngine:
        for name, chosen in self.components.items():
            if name == component:
                return chosen
        return self.engine


def _on_flink(chosen: ComponentEngine) -> bool:
    return chosen == "flink" or isinstance(chosen, FlinkJobs)
