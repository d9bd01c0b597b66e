"""The contract: what it accepts, what it refuses, and what it says about it."""

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from data.contract import Contract, ContractError, InfeasibleFeatureError, Target, files
from tests.data.loans import LOANS

pytestmark = pytest.mark.unit


def loans(**changes: dict) -> dict:
    """The loans with some columns changed, by name."""
    columns = [{**column, **changes.get(column["name"], {})} for column in LOANS["columns"]]
    return {**LOANS, "columns": columns}


def refusal(tmp_path: Path, content: dict) -> str:
    path = tmp_path / "contract.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(ContractError) as caught:
        Contract.load(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_ingested_and_ignored_columns_share_out_the_file_in_order():
    contract = Contract.model_validate(LOANS)

    assert contract.ingested() == {"income": "float32", "branch": "string", "defaulted": "int64"}
    assert contract.ignored() == ("id", "arrears")
    assert list(contract.ingested(labelled=False)) == ["income", "branch"]
    assert contract.ignored(labelled=False) == ("id", "arrears", "defaulted")
    assert contract.feasible == ("id", "income", "branch")
    contract.require_feasible(["income", "branch"])


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("arrears", "known only after payment, and a prediction is made when the customer applies"),
        ("defaulted", "it is the label"),
        ("id", "it is a key"),
        ("incom", "did you mean 'income'?"),
    ],
)
def test_a_column_that_cannot_be_a_feature_is_named_with_the_reason(name: str, reason: str):
    with pytest.raises(InfeasibleFeatureError) as caught:
        Contract.model_validate(LOANS).require_feasible(["income", name])

    assert f"'{name}'" in str(caught.value)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("label", "declared", "target"),
    [
        ({}, {}, Target(label="defaulted")),
        (
            {"range": [0, 2]},
            {"task": "multiclass", "classes": ["paid", "late", "lost"]},
            Target(label="defaulted", task="multiclass", classes=("paid", "late", "lost")),
        ),
        (
            {"type": "float32", "unit": "euro"},
            {"task": "regression"},
            Target(label="defaulted", task="regression", unit="euro"),
        ),
    ],
)
def test_a_contract_says_what_is_predicted(label: dict, declared: dict, target: Target):
    assert Contract.model_validate({**loans(defaulted=label), **declared}).target == target


@pytest.mark.parametrize(
    ("label", "declared", "message"),
    [
        ({"type": "float32"}, {}, "the label 'defaulted' is float32; the task binary needs int64"),
        ({"type": "float32"}, {"task": "multiclass"}, "the task multiclass needs int64"),
        ({"type": "string", "range": None}, {"task": "regression"}, "the task regression needs int64 or float32"),
        ({}, {"task": "multiclass"}, "the task multiclass needs at least three classes, each listed once"),
        ({}, {"task": "multiclass", "classes": ["a", "b", "b"]}, "at least three classes, each listed once"),
        ({}, {"classes": ["a", "b", "c"]}, "classes are listed, which only the task multiclass has"),
        ({}, {"task": "ranking"}, "task: Input should be 'binary', 'multiclass' or 'regression'"),
    ],
)
def test_a_target_that_makes_no_sense_is_refused_in_one_sentence(tmp_path, label: dict, declared: dict, message: str):
    assert message in refusal(tmp_path, {**loans(defaulted=label), **declared})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arrears": {"role": "feature"}}, "'arrears' has the role feature but is known only after payment"),
        ({"arrears": {"role": "slice"}}, "'arrears' has the role slice but is known only after payment"),
        ({"income": {"rnage": [0, 1]}}, "column 'income': rnage"),
        ({"income": {"type": "double"}}, "column 'income': type"),
        ({"income": {"range": [5, 1]}}, "column 'income': range"),
        ({"income": {"values": ["a"]}}, "lists values, which only a string column can"),
        ({"branch": {"range": [0, 1]}}, "has a range, which only a numeric column can"),
        ({"branch": {"values": ["north", "north"]}}, "without duplicates"),
        ({"income": {"open": True}}, "is open but lists no values"),
        ({"income": {"role": "label", "nullable": False}}, "the label is 'defaulted'"),
        ({"defaulted": {"role": "outcome"}}, "the label is 'defaulted'"),
        ({"defaulted": {"nullable": True}}, "never missing"),
        ({"income": {"name": "branch"}}, "column 'branch' is listed twice"),
        ({"income": {"role": "outcome"}}, "no column has the role feature"),
        ({"income": {"known": "aplication"}}, "not a stage (did you mean 'application'?); the stages are on_file"),
        ({"arrears": {"known": "never"}}, "'arrears' becomes known at 'never', which is not a stage; the stages"),
    ],
)
def test_a_contradictory_contract_is_refused_in_one_sentence(tmp_path: Path, changes: dict, message: str):
    assert message in refusal(tmp_path, loans(**changes))


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ("01023", "stage 'on_file' is listed twice"),
        ("0213", "stage 'application' is feasible but comes after 'after_payment', which is not"),
        ("", "stages: "),
    ],
)
def test_stages_that_are_out_of_order_are_refused_in_one_sentence(tmp_path: Path, stages: str, message: str):
    assert message in refusal(tmp_path, {**LOANS, "stages": [LOANS["stages"][int(at)] for at in stages]})


def test_a_contract_that_is_missing_or_not_yaml_is_refused_in_one_sentence(tmp_path: Path):
    with pytest.raises(ContractError, match="cannot be read: No such file"):
        Contract.load(tmp_path / "absent.yaml")
    path = tmp_path / "contract.yaml"
    path.write_text("columns: [\n")
    with pytest.raises(ContractError, match="not valid YAML near line"):
        Contract.load(path)
    path.write_text("")
    with pytest.raises(ContractError, match="is not valid"):
        Contract.load(path)


def test_a_contract_cannot_be_changed_once_loaded():
    contract = Contract.model_validate(LOANS)

    with pytest.raises(ValidationError):
        contract.label = "income"  # type: ignore[misc]


@pytest.mark.parametrize("stage", LOANS["stages"])
def test_no_moment_after_prediction_ever_passes_as_feasible(stage: dict):
    contract = Contract.model_validate(loans(arrears={"known": stage["name"]}))

    assert ("arrears" in contract.feasible) == stage["feasible"]


def test_the_flights_ingest_nothing_that_is_known_only_later(contract: Contract):
    late = {column.name for column in contract.columns if column.known in ("after_departure", "after_arrival")}

    assert late == {"dep_delay", "arr_delay", "air_time", "arrived_late", "lateness"}
    assert late & set(contract.ingested(labelled=False)) == set()
    assert contract.label == "arrived_late"


def test_a_contract_extends_another_one_and_says_only_what_differs(tmp_path: Path):
    (tmp_path / "loans.yaml").write_text(yaml.safe_dump(LOANS))
    changes = {
        "extends": "loans.yaml",
        "task": "regression",
        "label": "arrears",
        "columns": [
            {"name": "arrears", "role": "label"},
            {"name": "defaulted", "role": "outcome"},
            {"name": "rate", "type": "float32", "known": "application", "role": "feature", "meaning": "Of interest."},
        ],
    }
    (tmp_path / "arrears.yaml").write_text(yaml.safe_dump(changes))

    contract, base = Contract.load(tmp_path / "arrears.yaml"), Contract.model_validate(LOANS)

    assert contract.target == Target(label="arrears", task="regression")
    assert [column.name for column in contract.columns] == [*(column.name for column in base.columns), "rate"]
    assert contract.column("income") == base.column("income")
    assert contract.column("arrears").meaning == base.column("arrears").meaning
    assert files(tmp_path / "arrears.yaml") == [tmp_path / "loans.yaml", tmp_path / "arrears.yaml"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"extends": "contract.yaml"}, "cannot extend 'contract.yaml'"),
        ({"extends": 3}, "cannot extend 3"),
        ({"extends": "loans.yaml", "columns": ["income"]}, "is not valid"),
        ({"extends": "loans.yaml", "columns": [{"name": "income", "nullable": 3}]}, "column 'income': nullable"),
    ],
)
def test_an_extension_that_makes_no_sense_is_refused_in_one_sentence(tmp_path: Path, changes: dict, message: str):
    (tmp_path / "loans.yaml").write_text(yaml.safe_dump(LOANS))
    assert message in refusal(tmp_path, changes)


def test_an_extension_of_a_file_that_is_not_there_names_that_file(tmp_path: Path):
    (tmp_path / "contract.yaml").write_text("extends: other.yaml\n")
    with pytest.raises(ContractError, match=r"other\.yaml cannot be read"):
        Contract.load(tmp_path / "contract.yaml")


SENSITIVE = {"role": "slice", "sensitive": True}


def test_a_sensitive_column_reaches_the_examples_and_no_model():
    contract = Contract.model_validate(loans(branch=SENSITIVE))

    assert [column.name for column in contract.sensitive] == ["branch"]
    assert "branch" in contract.ingested(labelled=False)
    with pytest.raises(
        InfeasibleFeatureError, match="'branch' cannot be a feature: the contract marks it as sensitive"
    ):
        contract.require_feasible(["income", "branch"])


def test_a_model_may_read_a_sensitive_column_if_the_contract_says_so():
    contract = Contract.model_validate(loans(branch={"role": "feature", "sensitive": "feature"}))

    assert [column.name for column in contract.sensitive] == ["branch"]
    contract.require_feasible(["income", "branch"])


def test_no_column_is_sensitive_unless_marked():
    assert Contract.model_validate(LOANS).sensitive == ()


def test_a_sensitive_number_is_looked_at_in_named_groups():
    contract = Contract.model_validate(
        loans(income={**SENSITIVE, "groups": [1000, 2500.5]}, branch={"role": "feature"})
    )

    assert contract.column("income").group_names == ("under 1000", "1000 to under 2500.5", "2500.5 or more")
    assert contract.column("branch").group_names == ()


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        (
            "branch",
            {"role": "feature", "sensitive": True},
            "give it the role slice and `sensitive: true`, or, if a model",
        ),
        ("branch", {"role": "slice", "sensitive": "feature"}, "is sensitive and has the role slice"),
        ("id", {"sensitive": True}, "a column with the role key never reaches an evaluation"),
        ("branch", {"role": "slice", "sensitive": "yes"}, "it is true, false or feature, and not 'yes'"),
        ("income", SENSITIVE, "holds decimal numbers, by which rows cannot be sliced; list under groups"),
        ("income", {**SENSITIVE, "groups": [2, 1]}, "the groups must be one or more finite numbers, ascending"),
        ("income", {**SENSITIVE, "groups": []}, "the groups must be one or more finite numbers, ascending"),
        ("income", {"groups": [1]}, "has groups, which only a sensitive numeric column can"),
        ("branch", {**SENSITIVE, "groups": [1]}, "has groups, which only a sensitive numeric column can"),
    ],
)
def test_a_sensitive_column_that_could_not_be_looked_at_is_refused(tmp_path: Path, name, changes, message: str):
    said = refusal(tmp_path, loans(**{name: changes}))

    assert message in said
    assert f"'{name}'" in said
