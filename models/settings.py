"""The settings of the network, its training and its tuning. No TensorFlow here: the command line imports it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator, model_validator

from errors import FlightdeckError

if TYPE_CHECKING:
    from data.contract import Contract

Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Units = Annotated[int, Field(ge=1)]
Layers = tuple[Units, ...]

# keras-tuner keeps a third of the trials per round, and each round trains three times as long.
_HYPERBAND_EPOCHS = 3
# Settings of the machine, or of the search itself, that say nothing about the network.
_NO_HYPERPARAMETERS = ("accelerator", "members", "threads", "tuning")
# What training measures besides the loss, by task; `models.tasks` does it.
_MEASURED = {"binary": "val_auc", "multiclass": "val_accuracy", "regression": "val_rmse"}


class Dimension(BaseModel):
    """The values that tuning tries for one hyperparameter: some candidates, or a range.

    Attributes:
        choice: Candidates; none of them means that the hyperparameter stays as it is set.
        min: The smallest value of a range.
        max: The largest one.
        step: The distance between the values of a range; default: 1 for whole numbers, none for others. On a
            logarithmic scale it is the factor between them.
        sampling: ``log`` for what matters in factors, such as a learning rate.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    choice: tuple[Any, ...] | None = None
    min: int | float | None = None
    max: int | float | None = None
    step: Annotated[int | float, Field(gt=0)] | None = None
    sampling: Literal["linear", "log"] = "linear"

    @model_validator(mode="before")
    @classmethod
    def _spelled(cls, value: Any) -> Any:
        """A list is its candidates, and a plain value is the only one."""
        if isinstance(value, dict | Dimension):
            return value
        return {"choice": value if isinstance(value, list | tuple) else (value,)}

    @field_validator("choice", mode="after")
    @classmethod
    def _comparable(cls, choice: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
        """JSON has lists only; the same candidates must be equal."""
        return choice and tuple(tuple(candidate) if isinstance(candidate, list) else candidate for candidate in choice)

    @model_validator(mode="after")
    def _consistent(self) -> Dimension:
        if (self.choice is None) == (self.min is None and self.max is None):
            raise ValueError("give either choice, or min and max")
        if self.choice is not None:
            if self.step is not None or self.sampling == "log":
                raise ValueError("step and sampling belong to a range of min and max, not to a choice")
            return self
        if self.min is None or self.max is None:
            raise ValueError("a range needs both min and max")
        if self.min >= self.max:
            raise ValueError(f"min must be less than max, and {self.min} is not less than {self.max}")
        if self.sampling == "log" and self.min <= 0:
            raise ValueError("min must be greater than 0 with sampling: log")
        if self.sampling == "log" and self.step is not None and self.step <= 1:
            raise ValueError("step is a factor with sampling: log, and must be greater than 1")
        return self

    def extremes(self) -> tuple[Any, ...]:
        """Returns every candidate, or both ends of the range."""
        return (self.min, self.max) if self.choice is None else self.choice


_SEARCH = {
    "hidden_units": Dimension(choice=((128, 64), (256, 128))),
    "embedding_dim": Dimension(choice=(4, 8, 16)),
    "cross_layers": Dimension(choice=(0, 1, 2)),
    "dropout": Dimension(choice=(0.1, 0.2, 0.4)),
    "learning_rate": Dimension(choice=(0.001, 0.002, 0.005)),
}


class TuningSettings(BaseModel):
    """How hyperparameters are searched.

    Attributes:
        algorithm: ``random``, ``bayesian`` (Gaussian process) or ``hyperband`` (many short trials, few long ones).
        max_trials: Trials of a random or Bayesian search; Hyperband derives its own number from ``epochs``.
        epochs: Epochs of a trial (at most, for Hyperband).
        holdout: Fraction of the training rows, the newest ones, on which trials are scored. The evaluation split
            is never used, so that it still tells the truth about the tuned model.
        seed: Seed of the search; default: the model's.
        objective: What the newest rows decide by: ``val_loss``, what training minimises, or the metric of the task:
            ``val_auc`` (binary), ``val_accuracy`` (multiclass), ``val_rmse`` (regression).
        search: By hyperparameter, the values that are tried. A list is its candidates; ``{min: 0.0001, max: 0.01,
            sampling: log}`` is a range.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    algorithm: Literal["random", "bayesian", "hyperband"] = "random"
    max_trials: int = Field(default=8, ge=1)
    epochs: int = Field(default=2, ge=1)
    holdout: float = Field(default=0.1, gt=0, lt=1)
    seed: int | None = Field(default=None, ge=0, lt=2**31)
    objective: Literal["val_auc", "val_accuracy", "val_rmse", "val_loss"] = "val_auc"
    search: dict[str, Dimension] = _SEARCH

    @model_validator(mode="after")
    def _consistent(self) -> TuningSettings:
        if not self.searched():
            raise ValueError("the search space is empty; give candidates for at least one hyperparameter")
        if self.algorithm == "hyperband" and self.epochs < _HYPERBAND_EPOCHS:
            raise ValueError(f"hyperband needs epochs of at least {_HYPERBAND_EPOCHS} to stop weak trials early")
        return self

    def searched(self) -> dict[str, Dimension]:
        """Returns the hyperparameters that have anything to try."""
        return {name: dimension for name, dimension in self.search.items() if dimension.choice != ()}


class ModelSettings(BaseModel):
    """The network and its training; the defaults suit some 300,000 rows of 30 columns.

    Attributes:
        hidden_units: Units of the deep layers.
        embedding_dim: Size of a category's embedding.
        number_frequencies: Learned frequencies per numeric column, whose sines and cosines are embedded beside the
            number itself; 0 for none.
        number_dim: Size of the embedding of a number.
        number_scale: Standard deviation of the frequencies at the start, in cycles per standard deviation of the
            column: larger for what depends on small differences.
        cross_layers: Number of DCN-v2 cross layers beside the deep ones.
        dropout: Dropout rate after each deep layer.
        learning_rate: Peak learning rate; it falls to zero along a half cosine over the whole training.
        weight_decay: Decoupled weight decay of AdamW.
        batch_size: Rows per step, over all devices together.
        epochs: Passes over the training rows. There is no early stopping: it would choose the model on the
            evaluation split, which must stay unseen.
        members: Networks that are trained one after the other, from a seed each; the model answers with the mean of
            their answers. Several are better where rows are few, and take as many times as long.
        seed: Seed of weights, dropout and row order.
        deterministic: Whether TensorFlow may use deterministic operations only, so that a rerun on the same kind
            of device gives bit-identical weights.
        mixed_precision: Whether hidden layers compute in float16 (faster on a GPU); the output stays float32.
        xla: Whether the training step is compiled by XLA; not together with ``deterministic``.
        accelerator: ``auto`` uses GPUs if there are any, ``required`` fails without one, ``cpu`` leaves them alone.
        threads: How many threads one operation may use; those that do not wait for each other run at the same time
            anyway. 0 is one per core, which may be faster with large layers on many cores, but the number of cores
            then decides the last bits of the weights.
        tuning: How hyperparameters are searched when the pipeline has a Tuner.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    hidden_units: Layers = (256, 128)
    embedding_dim: Units = 8
    number_frequencies: int = Field(default=0, ge=0)
    number_dim: Units = 4
    number_scale: Positive = 0.2
    cross_layers: int = Field(default=1, ge=0)
    dropout: Fraction = 0.2
    learning_rate: Positive = 0.002
    weight_decay: float = Field(default=0.0001, ge=0)
    batch_size: int = Field(default=2048, ge=1)
    epochs: int = Field(default=3, ge=1)
    members: int = Field(default=1, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**31)
    deterministic: bool = True
    mixed_precision: bool = False
    xla: bool = False
    accelerator: Literal["auto", "required", "cpu"] = "auto"
    threads: int = Field(default=1, ge=0)
    tuning: TuningSettings = TuningSettings()

    @model_validator(mode="after")
    def _consistent(self) -> ModelSettings:
        if not self.hidden_units and not self.cross_layers:
            raise ValueError("the network has no layer; give hidden_units or cross_layers")
        if self.xla and self.deterministic:
            # Keras would silently train without XLA.
            raise ValueError("xla and deterministic exclude each other; set one of them to false")
        for name, dimension in self.tuning.searched().items():
            self._check_values(name, dimension.extremes())
        return self

    @classmethod
    def _check_values(cls, name: str, values: Sequence[Any]) -> None:
        """Refuses to search for what is no hyperparameter, and among values that its setting could not have."""
        if name not in cls._hyperparameters():
            known = ", ".join(cls._hyperparameters())
            raise ValueError(f"tuning.search: there is no hyperparameter '{name}' to search for; choose among {known}")
        adapter = TypeAdapter(cls.model_fields[name].rebuild_annotation())
        for value in values:
            try:
                adapter.validate_python(value)
            except ValidationError as error:
                wrong = error.errors()[0]["msg"]
                raise ValueError(f"tuning.search: {name} cannot be {value}: {wrong[:1].lower()}{wrong[1:]}") from None

    @classmethod
    def _hyperparameters(cls) -> list[str]:
        return [name for name in cls.model_fields if name not in _NO_HYPERPARAMETERS]

    def check(self, contract: Contract) -> None:
        """Refuses an objective of another task than the contract's with a FlightdeckError."""
        measured = _MEASURED[contract.task]
        if self.tuning.objective not in ("val_loss", measured):
            raise FlightdeckError(
                f"tuning.objective: {self.tuning.objective} is not measured for the task {contract.task}; "
                f"choose {measured} or val_loss"
            )

    def with_hyperparameters(self, values: Mapping[str, Any]) -> ModelSettings:
        """Returns these settings with tuned values in place of their own.

        Args:
            values: Hyperparameters by name as keras-tuner holds them: ``hidden_units`` as text, e.g. ``256-128``.
                Names that begin with ``tuner/`` are Hyperband's own bookkeeping and are passed over.

        Raises:
            FlightdeckError: If a name is not a hyperparameter.
        """
        tuned = {name: value for name, value in values.items() if not name.startswith("tuner/")}
        unknown = sorted(tuned.keys() - set(self._hyperparameters()))
        if unknown:
            known = ", ".join(self._hyperparameters())
            raise FlightdeckError(f"unknown hyperparameter '{unknown[0]}'; the model knows {known}")
        if isinstance(tuned.get("hidden_units"), str):
            tuned["hidden_units"] = [int(units) for units in tuned["hidden_units"].split("-")]
        return type(self).model_validate(self.model_dump() | tuned)
