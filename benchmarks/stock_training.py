"""Training as TFX's documentation shows it: examples through `tf_dataset_factory`, the transform graph as a layer.

The network, its optimizer, its loss and the number of epochs are those of the pipeline. `benchmarks.stock` gives it to
TFX's Trainer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf
import tensorflow_transform as tft
from tfx_bsl.public import tfxio

from data.contract import Target
from models import network, tasks
from models.features import FeatureSettings
from models.settings import ModelSettings

if TYPE_CHECKING:
    from tfx.components.trainer.fn_args_utils import FnArgs

# All of them, as the other two do. TFX's default is 10,000, which costs 0.006 of ROC AUC: rows come in order of time.
_SHUFFLED_ROWS = 1 << 19


def run_fn(fn_args: FnArgs) -> None:
    """Trains the network and exports it with the signature `serving_default`, as TFX's Trainer asks for.

    ``custom_config`` holds ``features``, ``model`` and ``target``; ``train_steps`` are those of all epochs.
    """
    features = FeatureSettings.model_validate(fn_args.custom_config["features"])
    settings = ModelSettings.model_validate(fn_args.custom_config["model"])
    target = Target.model_validate(fn_args.custom_config["target"])
    transform = tft.TFTransformOutput(fn_args.transform_graph_path)
    layer = transform.transform_features_layer()

    def dataset(files: Sequence[str], shuffle: bool) -> tf.data.Dataset:
        options = tfxio.TensorFlowDatasetOptions(
            settings.batch_size, shuffle=shuffle, shuffle_buffer_size=_SHUFFLED_ROWS, num_epochs=1
        )
        raw = fn_args.data_accessor.tf_dataset_factory(list(files), options, transform.raw_metadata.schema)
        return raw.map(lambda columns: (layer(columns), _dense(columns[target.label])))

    keras.utils.set_random_seed(settings.seed)
    train, evaluation = dataset(fn_args.train_files, shuffle=True), dataset(fn_args.eval_files, shuffle=False)
    head = tasks.head(target)
    model: Any = network.build(settings, network.TransformedFeatures.of(transform, features), head)
    rate: Any = keras.optimizers.schedules.CosineDecay(settings.learning_rate, decay_steps=fn_args.train_steps)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=settings.weight_decay)
    model.compile(optimizer=optimizer, loss=head.loss(), metrics=[head.measured()])
    log = keras.callbacks.TensorBoard(fn_args.model_run_dir, update_freq="epoch")
    model.fit(train, epochs=settings.epochs, validation_data=evaluation, callbacks=[log], verbose=0)
    _export(model, layer, transform, target.label, fn_args.serving_model_dir)


def _dense(column: tf.Tensor | tf.SparseTensor) -> tf.Tensor:
    return tf.cast(tf.sparse.to_dense(column) if isinstance(column, tf.SparseTensor) else column, tf.float32)


def _export(model: Any, layer: Any, transform: tft.TFTransformOutput, label: str, folder: str) -> None:
    """Writes a SavedModel that answers serialised examples without a label."""
    columns = transform.raw_feature_spec()
    del columns[label]

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(examples: tf.Tensor) -> Any:
        return model(layer(tf.io.parse_example(examples, columns)))

    module = tf.Module()
    module.model, module.layer = model, layer
    tf.saved_model.save(module, folder, signatures={"serving_default": serve})
