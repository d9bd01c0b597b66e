"""The curated schema: it says what the contract says."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from data.contract import Contract

pytestmark = pytest.mark.unit

TYPES = {"int64": schema_pb2.INT, "float32": schema_pb2.FLOAT, "string": schema_pb2.BYTES}


@pytest.fixture(scope="module")
def schema(schema_path: Path) -> schema_pb2.Schema:
    """The curated schema."""
    return text_format.Parse(schema_path.read_text(), schema_pb2.Schema())


def test_it_has_the_ingested_columns_in_their_types_and_order(schema: schema_pb2.Schema, contract: Contract):
    assert [(feature.name, feature.type) for feature in schema.feature] == [
        (name, TYPES[declared]) for name, declared in contract.ingested().items()
    ]


def test_it_requires_exactly_the_columns_that_may_not_be_missing(schema: schema_pb2.Schema, contract: Contract):
    for feature in schema.feature:
        nullable = contract.column(feature.name).nullable
        assert feature.presence.min_count == 1
        assert (feature.presence.min_fraction < 1) == nullable
        assert feature.presence.min_fraction > 0
        if nullable:
            assert (feature.value_count.min, feature.value_count.max) == (1, 1)
        else:
            assert [dim.size for dim in feature.shape.dim] == [1]


def test_it_has_the_ranges_of_the_contract(schema: schema_pb2.Schema, contract: Contract):
    for feature in schema.feature:
        column = contract.column(feature.name)
        kind = feature.WhichOneof("domain_info")
        if column.range is None:
            assert kind in (None, "domain")
            continue
        assert kind == {"int64": "int_domain", "float32": "float_domain"}[column.type]
        domain = getattr(feature, kind)
        assert (domain.min, domain.max) == column.range
        if kind == "float_domain":
            assert domain.disallow_nan
            assert domain.disallow_inf


def test_it_has_the_categories_of_the_contract_and_is_open_where_it_is(schema: schema_pb2.Schema, contract: Contract):
    domains = {domain.name: tuple(domain.value) for domain in schema.string_domain}
    stated = {}
    for feature in schema.feature:
        column = contract.column(feature.name)
        assert feature.HasField("distribution_constraints") == column.open
        if column.values is not None:
            assert feature.domain == feature.name
            stated[feature.name] = column.values
    assert domains == stated


def test_only_the_label_is_absent_from_requests(schema: schema_pb2.Schema, contract: Contract):
    assert list(schema.default_environment) == ["TRAINING", "SERVING"]
    absent = {feature.name: list(feature.not_in_environment) for feature in schema.feature}
    assert {name: names for name, names in absent.items() if names} == {contract.label: ["SERVING"]}
