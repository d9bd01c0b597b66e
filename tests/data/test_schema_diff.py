"""The comparison of the curated schema with an inferred one."""

from pathlib import Path

import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from data.schema_diff import SchemaDifference, SchemaError, diff

pytestmark = pytest.mark.unit


@pytest.fixture
def curated(schema_path: Path) -> schema_pb2.Schema:
    return text_format.Parse(schema_path.read_text(), schema_pb2.Schema())


def feature(schema: schema_pb2.Schema, name: str) -> schema_pb2.Feature:
    return next(feature for feature in schema.feature if feature.name == name)


def compared(schema_path: Path, changed: schema_pb2.Schema, folder: Path) -> list[SchemaDifference]:
    """The differences between the curated schema and a changed one, given as an artifact's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "schema.pbtxt").write_text(text_format.MessageToString(changed))
    return diff(schema_path, folder)


def test_columns_that_only_one_schema_has_are_named(schema_path: Path, curated: schema_pb2.Schema, place: Path):
    feature(curated, "humid").name = "humidity"

    assert compared(schema_path, curated, place) == [
        SchemaDifference("humid", "column", curated="present", inferred="absent"),
        SchemaDifference("humidity", "column", curated="absent", inferred="present"),
    ]


def test_type_presence_values_and_range_are_compared(schema_path: Path, curated: schema_pb2.Schema, tmp_path: Path):
    feature(curated, "plane_year").type = schema_pb2.FLOAT
    feature(curated, "distance").presence.min_fraction = 0.5
    feature(curated, "temp").ClearField("float_domain")
    feature(curated, "day_of_week").int_domain.max = 7
    feature(curated, "dest").ClearField("domain")
    origins = next(domain for domain in curated.string_domain if domain.name == "origin")
    origins.value.remove("LGA")
    origins.value.extend(["PHL", "HPN"])

    differences = {
        (one.column, one.what): (one.curated, one.inferred) for one in compared(schema_path, curated, tmp_path)
    }

    assert differences == {
        ("origin", "values"): ("LGA", "HPN, PHL"),
        ("dest", "values"): ("104 values", "any text"),
        ("day_of_week", "range"): ("0 to 6", "0 to 7"),
        ("distance", "presence"): ("required", "optional"),
        ("plane_year", "type"): ("INT", "FLOAT"),
        ("temp", "range"): ("-40 to 130", "any number"),
    }


def test_a_schema_does_not_differ_from_itself_nor_a_domain_inside_the_feature_from_a_shared_one(
    schema_path, curated, tmp_path
):
    assert diff(schema_path, schema_path) == []
    origin = feature(curated, "origin")
    origin.string_domain.value.extend(["JFK", "LGA", "EWR"])

    assert origin.WhichOneof("domain_info") == "string_domain"
    assert compared(schema_path, curated, tmp_path) == []


def test_a_file_that_is_missing_or_no_schema_is_one_sentence(schema_path: Path, tmp_path: Path):
    with pytest.raises(SchemaError, match=r"The schema .*schema\.pbtxt cannot be read: No such file"):
        diff(schema_path, tmp_path)
    (tmp_path / "schema.pbtxt").write_text("columns: [a, b]")
    with pytest.raises(SchemaError, match="is not a schema in text format") as caught:
        diff(schema_path, tmp_path)
    assert "\n" not in str(caught.value)
