"""The toy model of TensorFlow Serving's documentation: y = x / 2 + 3."""

from pathlib import Path


def write(folder: Path) -> Path:
    """Writes the model with its one named input as `predict_raw`."""
    import tensorflow as tf

    class HalfPlusThree(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = tf.Variable(0.5), tf.Variable(3.0)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def predict(self, x):
            return {"y": self.a * x + self.b}

    model = HalfPlusThree()
    tf.saved_model.save(model, str(folder), signatures={"predict_raw": model.predict})
    return folder
