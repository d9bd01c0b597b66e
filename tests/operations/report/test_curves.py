"""Curves from TensorBoard's events."""

import pytest
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer.record_writer import RecordWriter
from tensorboard.util import tensor_util

from operations.report import curves

pytestmark = pytest.mark.unit


def write(file, events):
    file.parent.mkdir(parents=True)
    with file.open("wb") as stream:
        writer = RecordWriter(stream)
        for event in events:
            writer.write(event.SerializeToString())
        writer.flush()


def scalar(tag, step, value):
    tensor = tensor_util.make_tensor_proto(value)
    return event_pb2.Event(step=step, summary=summary_pb2.Summary(value=[{"tag": tag, "tensor": tensor}]))


def test_curves_of_both_kinds_of_rows(tmp_path):
    write(
        tmp_path / "train" / "events.out.tfevents.1",
        [event_pb2.Event(file_version="brain.Event:2"), scalar("epoch_loss", 0, 0.5), scalar("epoch_loss", 1, 0.25)],
    )
    write(tmp_path / "validation" / "events.out.tfevents.2", [scalar("epoch_loss", 0, 0.75), scalar("other", 0, 9.0)])
    assert curves.read(tmp_path) == [
        curves.Curve("loss", "train", ((1, 0.5), (2, 0.25))),
        curves.Curve("loss", "validation", ((1, 0.75),)),
    ]


def test_a_file_cut_short_gives_what_is_whole_and_none_gives_nothing(tmp_path):
    assert curves.read(tmp_path) == []
    file = tmp_path / "train" / "events.out.tfevents.1"
    write(file, [scalar("epoch_loss", 0, 0.5), scalar("epoch_loss", 1, 0.25)])
    file.write_bytes(file.read_bytes()[:-5])
    assert curves.read(tmp_path) == [curves.Curve("loss", "train", ((1, 0.5),))]
