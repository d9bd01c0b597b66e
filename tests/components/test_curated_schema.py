"""CuratedSchema: what people reviewed is what the pipeline uses, also after an edit."""

import hashlib
from pathlib import Path

import pytest
from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata, pipeline
from tfx.orchestration.local.local_dag_runner import LocalDagRunner

from components.curated_schema import CuratedSchema

pytestmark = pytest.mark.component
SCHEMA = 'feature { name: "size" type: FLOAT }  # reviewed\n'


class Workbench:
    """A metadata store, and a schema file to edit."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "schema.pbtxt"
        self.connection = metadata.sqlite_metadata_connection_config(str(folder / "metadata.sqlite"))
        self.file.write_text(SCHEMA)

    def run(self, digest: str | None = None) -> None:
        node = CuratedSchema(
            schema_file=str(self.file), digest=digest or hashlib.sha256(self.file.read_bytes()).hexdigest()[:16]
        )
        LocalDagRunner().run(
            pipeline.Pipeline(
                pipeline_name="test",
                pipeline_root=str(self.folder / "artifacts"),
                components=[node],
                enable_cache=True,
                metadata_connection_config=self.connection,
            )
        )

    def states(self) -> list[str]:
        executions = MetadataStore(self.connection).get_executions()
        name = metadata_store_pb2.Execution.State.Name
        return [name(each.last_known_state) for each in sorted(executions, key=lambda each: each.id)]

    def copies(self) -> list[str]:
        return [path.read_text() for path in sorted(self.folder.glob("artifacts/*/schema/*/schema.pbtxt"))]


@pytest.fixture
def workbench(tmp_path):
    return Workbench(tmp_path)


def test_the_schema_arrives_as_it_was_written_comments_included(workbench):
    workbench.run()

    assert workbench.copies() == [SCHEMA]


def test_an_edit_is_noticed_and_no_edit_is_a_cache_hit(workbench):
    workbench.run()
    workbench.run()
    workbench.file.write_text(SCHEMA.replace("size", "weight"))
    workbench.run()

    assert workbench.states() == ["COMPLETE", "CACHED", "COMPLETE"]
    assert len(workbench.copies()) == 2


def test_another_version_than_the_pipeline_was_defined_with_is_refused(workbench):
    with pytest.raises(ValueError, match="is not the one this pipeline was defined with"):
        workbench.run(digest="0123456789abcdef")

    assert workbench.copies() == []


def test_a_file_that_is_no_schema_is_refused(workbench):
    workbench.file.write_text("feature {")

    with pytest.raises(ValueError, match="cannot be parsed"):
        workbench.run()
