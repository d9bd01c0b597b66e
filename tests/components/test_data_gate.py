"""DataGate on real statistics and anomalies of TFDV, written by TFX's own ExampleValidator."""

import json
from pathlib import Path

import pandas as pd
import pytest
import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_data_validation.anomalies.proto import custom_validation_config_pb2
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2
from tfx.components.example_validator import executor as example_validator
from tfx.types import standard_artifacts

from components.data_gate import findings
from components.data_gate.component import DataGate, DataGateReport
from components.data_gate.report import DataGateError, Examined, Finding, Report
from tests.components.scorers import artifact

pytestmark = pytest.mark.component

SCHEMA = """
    feature { name: "shop" type: BYTES domain: "shops" presence { min_fraction: 1 min_count: 1 } shape {} }
    feature {
      name: "floor" type: INT int_domain { min: 0 max: 9 } presence { min_fraction: 1 min_count: 1 } shape {}
    }
    feature {
      name: "size" type: FLOAT float_domain { min: 0 max: 1 } presence { min_fraction: 0.8 }
      value_count { min: 1 max: 1 }
    }
    string_domain { name: "shops" value: "A" value: "B" value: "C" }
"""
GOOD = pd.DataFrame({"shop": ["A", "B", "C", "A"] * 50, "floor": [0, 3, 9, 4] * 50, "size": [0.1, 0.5, 1.0, 0.0] * 50})


class Case:
    """Runs ExampleValidator and DataGate on splits given as data frames."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.report = artifact(DataGateReport, folder / "report")
        self.inputs = {}

    def run(self, schema: str = SCHEMA, severity: str = "error", validated: dict | None = None, **splits):
        """The report; statistics are validated once more if there is what TFX's component cannot be given."""
        names = json.dumps(sorted(splits))
        statistics = artifact(standard_artifacts.ExampleStatistics, self.folder / "statistics", split_names=names)
        statistics.span = 0
        for split, frame in splits.items():
            stats = tfdv.generate_statistics_from_dataframe(frame)
            path = self.folder / "statistics" / f"Split-{split}" / "FeatureStats.pb"
            path.parent.mkdir(parents=True)
            path.write_bytes(stats.SerializeToString())
        self.inputs = {"statistics": statistics, "schema": artifact(standard_artifacts.Schema, self.folder / "schema")}
        (self.folder / "schema" / "schema.pbtxt").write_text(schema)
        anomalies = artifact(standard_artifacts.ExampleAnomalies, self.folder / "anomalies")
        example_validator.Executor().Do(
            {name: [given] for name, given in self.inputs.items()}, {"anomalies": [anomalies]}, {}
        )
        self.inputs["anomalies"] = anomalies
        if validated:
            flagged = tfdv.validate_statistics(stats, text_format.Parse(schema, schema_pb2.Schema()), **validated)
            (path,) = (self.folder / "anomalies").glob("Split-*/SchemaDiff.pb")
            path.write_bytes(flagged.SerializeToString())
        DataGate.test_call(**self.inputs, report=self.report, severity=severity)
        return json.loads(Path(self.report.uri, "report.json").read_text())

    def error(self, *arguments, **splits) -> str:
        with pytest.raises(DataGateError) as caught:
            self.run(*arguments, **splits)
        assert not list(Path(self.report.uri).iterdir())
        return str(caught.value)


@pytest.fixture
def case(tmp_path):
    return Case(tmp_path)


def test_good_data_pass_and_the_report_says_what_was_examined(case):
    report = case.run(train=GOOD, eval=GOOD[:40])
    splits = {"eval": {"examples": 40, "columns": 3}, "train": {"examples": 200, "columns": 3}}
    assert report == {"severity": "error", "errors": 0, "warnings": 0, "splits": splits, "findings": []}
    text = Path(case.report.uri, "report.txt").read_text()
    assert text == (
        "The data conforms to its schema. Examined: eval 40 examples of 3 columns, train 200 examples of 3 columns.\n"
    )
    assert (case.report.errors, case.report.warnings) == (0, 0)


EVIDENCE = {
    "unexpected values with their counts": (
        {"eval": GOOD.assign(shop=["A", "B", "ZZ", "Q"] * 40 + ["ZZ"] * 39 + ["X" * 60])},
        [
            "1 error, 0 warnings",
            f"  error: eval: shop: Unexpected string values: 'ZZ' 79 times, 'Q' 40 times, '{'X' * 39}…' 1 times; "
            "allowed are 'A', 'B', 'C'",
        ],
    ),
    "the observed and the allowed range": (
        {"train": GOOD.assign(floor=[-3, 3, 12, 4] * 50, size=[0.1, 0.5, 2.5, 0.0] * 50)},
        [
            "train: floor: ",
            "values from -3 to 12; allowed are 0 to 9",
            "train: size: Out-of-range values: values from 0 to 2.5; allowed are 0 to 1",
        ],
    ),
    "the share that is missing and the one allowed": (
        {"train": GOOD.assign(size=[None, None, 1.0, 0.5] * 50)},
        ["train: size: ", "missing in 50.00% of the examples (100 of 200); allowed is 20.00%"],
    ),
    "missing and new columns and wrong types": (
        {"train": GOOD.drop(columns="shop").assign(colour="red", floor="three")},
        [
            "train: shop: Column dropped: missing in all 200 examples",
            "train: colour: New column: STRING with 200 values is in the data but not in the schema",
            "train: floor: ",
            "the data is STRING, the schema says INT",
        ],
    ),
    "a column without a value": (
        {"train": GOOD.assign(size=pd.Series([None] * 200, dtype="float64"))},
        ["train: size: Column dropped: missing in 100.00% of the examples (200 of 200); allowed is 20.00%"],
    ),
    "a split without data": (
        {"eval": GOOD[:0]},
        ["error: eval: (whole split): No data: there are no examples at all"],
    ),
}


@pytest.mark.parametrize("evidence", EVIDENCE)
def test_what_is_wrong_is_shown_with_its_evidence(case, evidence):
    splits, sentences = EVIDENCE[evidence]
    error = case.error(**{"train": GOOD, **splits})
    assert [sentence for sentence in sentences if sentence not in error] == []
    assert error.endswith("Correct the data; or, if the data is right, change the schema.")


def test_too_few_examples_are_a_finding_of_the_whole_split(case):
    schema = SCHEMA + "dataset_constraints { min_examples_count: 100 }"
    error = case.error(schema, train=GOOD, eval=GOOD[:40])
    assert "error: eval: (whole split): " in error
    assert "40 examples; at least 100 are required" in error
    assert "train: (whole split)" not in error


def test_drift_is_shown_with_the_measured_distance(case):
    schema = SCHEMA.replace('domain: "shops"', 'domain: "shops" drift_comparator { infinity_norm { threshold: 0.1 } }')
    before = tfdv.generate_statistics_from_dataframe(GOOD.assign(shop="A"))
    error = case.error(schema, train=GOOD, validated={"previous_statistics": before})
    assert (
        "train: shop: High Linfty distance between current and previous: "
        "drift (l infty) of 0.5; allowed is 0.1" in error
    )


def test_drift_that_is_measured_but_not_flagged_is_found():
    anomalies = text_format.Parse(
        'drift_skew_info { path { step: "shop" } skew_measurements { type: L_INFTY value: 0.3 threshold: 0.1 } }',
        anomalies_pb2.Anomalies(),
    )
    stats = tfdv.generate_statistics_from_dataframe(GOOD)
    (finding,) = findings.find("train", anomalies, stats, schema_pb2.Schema())
    assert finding == Finding("error", "train", "shop", "High skew", "skew (l infty) of 0.3; allowed is 0.1")


WARNING_RULE = text_format.Parse(
    """
    feature_validations {
      feature_path { step: "floor" }
      validations {
        sql_expression: "feature.num_stats.max < 5"
        severity: WARNING
        description: "Nobody goes above the fourth floor."
      }
    }
    """,
    custom_validation_config_pb2.CustomValidationConfig(),
)
# What is wrong, and the settings at which it stops the run.
WRONG = {
    "error": ({"train": GOOD.assign(shop="ZZ")}, ("error", "warning"), "'ZZ' 200 times"),
    "warning": (
        {"train": GOOD, "validated": {"custom_validation_config": WARNING_RULE}},
        ("warning",),
        "Nobody goes above the fourth floor",
    ),
}


@pytest.mark.parametrize("severity", ["never", "error", "warning"])
@pytest.mark.parametrize("wrong", WRONG)
def test_the_gate_closes_from_its_severity_on(case, wrong, severity):
    data, closing, sentence = WRONG[wrong]
    if severity in closing:
        assert sentence in case.error(severity=severity, **data)
        return
    report = case.run(severity=severity, **data)
    assert (report["errors"], report["warnings"]) == (wrong == "error", wrong == "warning")
    assert (case.report.errors, case.report.warnings) == (report["errors"], report["warnings"])
    assert sentence in Path(case.report.uri, "report.txt").read_text()


def test_long_report_is_cut_after_twenty_lines_errors_first():
    listed = [Finding("warning", "train", f"a{i:02}", "rule", "found") for i in range(10)]
    listed += [Finding("error", "train", f"b{i:02}", "rule", "found") for i in range(15)]
    report = Report.of("error", {"train": Examined(5, 25)}, listed + listed)
    with pytest.raises(DataGateError) as caught:
        report.require_open()
    lines = str(caught.value).splitlines()
    assert lines[0] == "The data breaks its schema: 15 errors, 10 warnings. Examined: train 5 examples of 25 columns."
    assert lines[1].strip() == "error: train: b00: rule: found"
    assert lines[16].strip() == "warning: train: a00: rule: found"
    assert lines[21].strip() == "and 5 more"
    assert len(lines) == 23


def test_missing_anomalies_do_not_let_the_data_pass(case):
    case.run(train=GOOD)
    (path,) = (case.folder / "anomalies").glob("Split-*/SchemaDiff.pb")
    path.unlink()
    with pytest.raises(ValueError, match="The anomalies of the split 'train' are missing"):
        DataGate.test_call(**case.inputs, report=case.report)


def test_an_unknown_severity_is_refused(case):
    with pytest.raises(ValueError, match="one of error, warning, never, not 'fatal'"):
        case.run(severity="fatal", train=GOOD)
