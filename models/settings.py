"""The settings of the network, its training and its tuning. No TensorFlow here: the command line imports it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Units = Annotated[int, Field(ge=1)]
Layers = tuple[Units, ...]

# keras-tuner keeps a third of the trials per round, and each round trains three times as long.
_HYPERBAND_EPOCHS = 3


class SearchSpace(BaseModel):
    """The values that tuning tries, per hyperparameter; an empty list leaves that one as it is set.

    Attributes:
        hidden_units: Candidates for the units of the deep layers.
        embedding_dim: Candidates for the size of a category's embedding.
        cross_layers: Candidates for the number of cross layers.
        dropout: Candidates for the dropout rate.
        learning_rate: Candidates for the peak learning rate.
        weight_decay: Candidates for the decoupled weight decay.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    hidden_units: tuple[Layers, ...] = ((128, 64), (256, 128))
    embedding_dim: tuple[Units, ...] = (4, 8, 16)
    cross_layers: tuple[Annotated[int, Field(ge=0)], ...] = (0, 1, 2)
    dropout: tuple[Fraction, ...] = (0.1, 0.2, 0.4)
    learning_rate: tuple[Positive, ...] = (0.001, 0.002, 0.005)
    weight_decay: tuple[Annotated[float, Field(ge=0)], ...] = ()

    def candidates(self) -> dict[str, tuple[Any, ...]]:
        """Returns the hyperparameters that have candidates, each with its candidates."""
        named = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: values for name, values in named.items() if values}


class TuningSettings(BaseModel):
    """How hyperparameters are searched.

    Attributes:
        algorithm: ``random``, ``bayesian`` (Gaussian process) or ``hyperband`` (many short trials, few long ones).
        max_trials: Trials of a random or Bayesian search; Hyperband derives its own number from ``epochs``.
        epochs: Epochs of a trial (at most, for Hyperband).
        holdout: Fraction of the training rows, the newest ones, on which trials are scored. The evaluation split
            is never used, so that it still tells the truth about the tuned model.
        search: The candidates.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    algorithm: Literal["random", "bayesian", "hyperband"] = "random"
    max_trials: int = Field(default=8, ge=1)
    epochs: int = Field(default=2, ge=1)
    holdout: float = Field(default=0.1, gt=0, lt=1)
    search: SearchSpace = SearchSpace()

    @model_validator(mode="after")
    def _consistent(self) -> TuningSettings:
        if not self.search.candidates():
            raise ValueError("the search space is empty; give candidates for at least one hyperparameter")
        if self.algorithm == "hyperband" and self.epochs < _HYPERBAND_EPOCHS:
            raise ValueError(f"hyperband needs epochs of at least {_HYPERBAND_EPOCHS} to stop weak trials early")
        return self


class ModelSettings(BaseModel):
    """The network and its training; the defaults were chosen on spans 9 to 11, never on span 12.

    Attributes:
        hidden_units: Units of the deep layers.
        embedding_dim: Size of a category's embedding.
        cross_layers: Number of DCN-v2 cross layers beside the deep ones.
        dropout: Dropout rate after each deep layer.
        learning_rate: Peak learning rate; it falls to zero along a half cosine over the whole training.
        weight_decay: Decoupled weight decay of AdamW.
        batch_size: Rows per step, over all devices together.
        epochs: Passes over the training rows. There is no early stopping: it would choose the model on the
            evaluation split, which must stay unseen.
        seed: Seed of weights, dropout and row order.
        deterministic: Whether TensorFlow may use deterministic operations only, so that a rerun on the same kind
            of device gives bit-identical weights.
        mixed_precision: Whether hidden layers compute in float16 (faster on a GPU); the output stays float32.
        xla: Whether the training step is compiled by XLA; not together with ``deterministic``.
        accelerator: ``auto`` uses GPUs if there are any, ``required`` fails without one, ``cpu`` leaves them alone.
        tuning: How hyperparameters are searched when the pipeline has a Tuner.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    hidden_units: Layers = (256, 128)
    embedding_dim: Units = 8
    cross_layers: int = Field(default=1, ge=0)
    dropout: Fraction = 0.2
    learning_rate: Positive = 0.002
    weight_decay: float = Field(default=0.0001, ge=0)
    batch_size: int = Field(default=2048, ge=1)
    epochs: int = Field(default=3, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**31)
    deterministic: bool = True
    mixed_precision: bool = False
    xla: bool = False
    accelerator: Literal["auto", "required", "cpu"] = "auto"
    tuning: TuningSettings = TuningSettings()

    @model_validator(mode="after")
    def _consistent(self) -> ModelSettings:
        if not self.hidden_units and not self.cross_layers:
            raise ValueError("the network has no layer; give hidden_units or cross_layers")
        if self.xla and self.deterministic:
            # Keras would silently train without XLA.
            raise ValueError("xla and deterministic exclude each other; set one of them to false")
        return self

    def with_hyperparameters(self, values: Mapping[str, Any]) -> ModelSettings:
        """Returns these settings with tuned values in place of their own.

        Args:
            values: Hyperparameters by name as keras-tuner holds them: ``hidden_units`` as text, e.g. ``256-128``.
                Names that begin with ``tuner/`` are Hyperband's own bookkeeping and are passed over.

        Raises:
            ValueError: If a name is not a hyperparameter of the search space.
        """
        tuned = {name: value for name, value in values.items() if not name.startswith("tuner/")}
        unknown = sorted(tuned.keys() - SearchSpace.model_fields.keys())
        if unknown:
            known = ", ".join(SearchSpace.model_fields)
            raise ValueError(f"unknown hyperparameter '{unknown[0]}'; the model knows {known}")
        if isinstance(tuned.get("hidden_units"), str):
            tuned["hidden_units"] = [int(units) for units in tuned["hidden_units"].split("-")]
        return type(self).model_validate(self.model_dump() | tuned)
