"""Settings of a pipeline run that takes seconds, for tests."""

# Small enough for seconds, large enough that every slice has both labels; thresholds that such a model can reach.
SMALL = (
    "model.epochs=1",
    "model.batch_size=256",
    "model.hidden_units=[16]",
    "evaluation.slices=[[origin], [departure_band]]",
    "evaluation.gated_slices=[[origin]]",
    "evaluation.min_slice_size=50",
    "evaluation.metrics=[{name: AUC, better: higher, at_least: 0.4, may_lose: 0.4}, {name: MeanPrediction},"
    " {name: RowCount, module: components.evaluation.row_metrics}]",
)
