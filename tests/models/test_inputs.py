"""Rows in memory: complete, in order, shuffled the same way each time."""

import numpy as np
import pytest

from models.inputs import InputError, read

pytestmark = pytest.mark.component


@pytest.fixture(scope="module")
def rows(ingested):
    return ingested.rows("train")


def test_every_row_is_read_in_the_order_of_time(rows, ingested) -> None:
    labels = ingested.train.column("arrived_late").to_numpy()
    assert len(rows) == len(labels)
    np.testing.assert_array_equal(rows.labels.numpy()[:, 0], labels)
    assert np.isfinite(rows.features["numeric_xf"].numpy()).all()


def test_an_epoch_holds_every_row_once_and_keeps_labels_with_their_features(rows) -> None:
    batches = list(rows.batches(1000, shuffle_seed=3))
    shuffled = np.concatenate([np.hstack([batch["numeric_xf"], labels]) for batch, labels in batches])
    original = np.hstack([rows.features["numeric_xf"], rows.labels])
    assert not np.array_equal(shuffled, original)
    np.testing.assert_array_equal(np.sort(_keys(shuffled)), np.sort(_keys(original)))


def test_the_order_changes_from_epoch_to_epoch_and_is_repeatable(rows) -> None:
    first, again = rows.batches(len(rows), shuffle_seed=3), rows.batches(len(rows), shuffle_seed=3)
    epochs = [_keys(np.asarray(batch["numeric_xf"])) for _ in range(2) for batch, _ in first]
    repeated = [_keys(np.asarray(batch["numeric_xf"])) for _ in range(2) for batch, _ in again]
    np.testing.assert_array_equal(epochs, repeated)
    assert not np.array_equal(epochs[0], epochs[1])


def test_the_newest_rows_are_split_off(rows) -> None:
    older, newest = rows.split(0.25)
    assert len(newest) == round(len(rows) * 0.25)
    joined = np.concatenate([older.features["categorical_xf"], newest.features["categorical_xf"]])
    np.testing.assert_array_equal(joined, rows.features["categorical_xf"])


@pytest.mark.parametrize(
    ("pattern", "label", "message"),
    [
        ("Split-nowhere/*", "arrived_late", "no file matches .*Split-nowhere"),
        ("Split-train/*", "arrived_early", "'arrived_early' is not in the schema"),
    ],
)
def test_unusable_input_is_refused(ingested, pattern: str, label: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read([str(ingested.folder / pattern)], ingested.transform, ["carrier"], label)


def _keys(rows: np.ndarray) -> np.ndarray:
    """Returns one number per row that tells rows apart."""
    weights = np.random.default_rng(0).normal(size=rows.shape[1])
    return (rows.astype(np.float64) * weights).sum(axis=1)
