"""CuratedSchema: what people reviewed is what the pipeline uses, also after an edit."""

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from components.curated_schema import CuratedSchema
from tests.components.local_runs import Workspace

pytestmark = pytest.mark.component
SCHEMA = 'feature { name: "size" type: FLOAT }  # reviewed\n'


class Workbench(Workspace):
    """A metadata store, and a schema file to edit."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.file = folder / "schema.pbtxt"
        self.file.write_text(SCHEMA)

    def curate(self, digest: str | None = None, ignored: Sequence[str] = ()) -> None:
        digest = digest or hashlib.sha256(self.file.read_bytes()).hexdigest()[:16]
        self.run(CuratedSchema(schema_file=str(self.file), digest=digest, ignored=list(ignored)))

    def copies(self) -> list[str]:
        return [path.read_text() for path in sorted(self.folder.glob("artifacts/*/*/schema/*/schema.pbtxt"))]


@pytest.fixture
def workbench(tmp_path):
    return Workbench(tmp_path)


def test_the_schema_arrives_as_it_was_written_and_is_copied_again_after_an_edit_only(workbench):
    workbench.curate()
    assert workbench.copies() == [SCHEMA]  # with its comments
    workbench.curate()
    workbench.file.write_text(SCHEMA.replace("size", "weight"))
    workbench.curate()

    assert workbench.states() == ["COMPLETE", "CACHED", "COMPLETE"]
    assert len(workbench.copies()) == 2


def test_a_file_of_a_package_is_found_wherever_that_can_be_imported(workbench, monkeypatch):
    """A project of its own lies in another place on the laptop and in an image."""
    digest = hashlib.sha256(SCHEMA.encode()).hexdigest()[:16]
    for place in ("laptop", "image"):
        (workbench.folder / place / "usecase").mkdir(parents=True)
        (workbench.folder / place / "usecase" / "schema.pbtxt").write_text(SCHEMA)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "path", [*sys.path, str(workbench.folder / place)])
            workbench.run(CuratedSchema(schema_file="usecase/schema.pbtxt", digest=digest, ignored=[]))

    assert workbench.states() == ["COMPLETE", "CACHED"]
    assert workbench.copies() == [SCHEMA]


def test_columns_that_the_pipeline_does_not_read_are_left_out(workbench):
    workbench.file.write_text(SCHEMA + 'feature { name: "label" type: INT }\nfeature { name: "other label" type: INT }')
    workbench.curate(ignored=["other label", "nowhere"])

    (copy,) = workbench.copies()
    assert [feature.name for feature in text_format.Parse(copy, schema_pb2.Schema()).feature] == ["size", "label"]


def test_another_version_and_a_file_that_is_no_schema_are_refused(workbench):
    with pytest.raises(ValueError, match="is not the one this pipeline was defined with"):
        workbench.curate(digest="0123456789abcdef")
    workbench.file.write_text("feature {")
    with pytest.raises(ValueError, match="cannot be parsed"):
        workbench.curate()

    assert workbench.copies() == []
