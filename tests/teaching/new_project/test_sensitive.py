"""Which columns a new project marks as sensitive by their names, and the groups in which it looks at numbers."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from data.contract import ContractError
from data.table import TableError
from models.features import FeatureSettings
from teaching.new_project import creation, plan
from teaching.new_project.sensitive import bounds, suggests
from tests.teaching.new_project.projects import contract_of, own_tests_pass

pytestmark = pytest.mark.unit

ROWS = 600


@pytest.mark.parametrize(
    "name",
    [
        *("age", "Age", "AGE", "age_group", "customer_age", "patientAge", "age in years", "dob", "year_of_birth"),
        *("sex", "Sex", "sex_at_birth", "gender", "genderIdentity", "sexual orientation", "race", "race/ethnicity"),
        *("religion", "nationality", "marital.status", "MaritalStatus", "disability", "Pregnancies", "is_pregnant"),
        *("zip", "zip_code", "ZipCode", "ZIPCode", "postcode", "postal_code", "SeniorCitizen"),
    ],
)
def test_names_of_what_people_must_not_be_judged_by(name: str):
    assert suggests(name)


@pytest.mark.parametrize(
    "name",
    [
        *("house_age", "HouseAge", "weather_age", "age_of_car", "mileage", "average", "stage", "agency", "language"),
        *("race_time", "raceId", "Essex", "sexton", "embrace", "zipper", "gender_pay_gap", "orientation", "status"),
        *("customer", "country", "year", "income", "pages", "managed", "", "2"),
    ],
)
def test_names_of_something_else(name: str):
    assert not suggests(name)


def test_groups_of_a_number_are_its_quartiles_and_never_empty():
    ages = pd.Series([*range(20, 61), None])

    assert bounds(ages, whole=True) == (30, 40, 50)
    assert bounds(ages + 0.123, whole=False) == (30.1, 40.1, 50.1)
    assert bounds(pd.Series([0.0] * 90 + [*range(1, 20)]), whole=False) == (0.5,)


def test_few_values_are_groups_of_their_own():
    assert bounds(pd.Series([0, 1, None] * 9), whole=True) == ()
    assert bounds(pd.Series([-0.5, 1.5, 2.5] * 9), whole=False) == (0.5, 2.0)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random = np.random.default_rng(0)
    approved = random.integers(0, 2, ROWS)
    frame = pd.DataFrame(
        {
            "age": random.integers(18, 80, ROWS),
            "Sex": random.choice(["female", "male"], ROWS),
            "score": random.normal(0, 1, ROWS).round(4),
            "BMI of person": random.normal(25, 4, ROWS).round(1),
            "zip code": random.integers(10_000, 10_020, ROWS),
            "approved": np.where(approved, "yes", "no"),
        }
    )
    path = tmp_path_factory.mktemp("table") / "loans.csv"
    frame.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def project(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("projects") / "loans"
    creation.create(plan.make(table, "approved"), folder)
    return folder


def features_of(project: Path) -> FeatureSettings:
    settings = yaml.safe_load((project / "config" / "local.yaml").read_text())
    return FeatureSettings.model_validate(settings["features"])


def test_marked_columns_are_in_the_contract_and_not_among_the_features(project: Path):
    contract, settings = contract_of(project), yaml.safe_load((project / "config" / "local.yaml").read_text())

    assert [column.name for column in contract.sensitive] == ["age", "Sex", "zip_code"]
    assert {column.role for column in contract.sensitive} == {"slice"}
    assert contract.column("age").groups is not None
    assert contract.column("Sex").values == ("female", "male") or contract.column("Sex").values == ("male", "female")
    assert contract.column("zip_code").groups is not None
    assert features_of(project).inputs == ["score", "BMI_of_person"]
    assert (settings["evaluation"]["slices"], settings["evaluation"]["fairness"]) == ([], {})
    text = (project / "usecase" / "contract.yaml").read_text()
    assert text.count("# Marked as sensitive because of its name.") == 3
    assert "`age`, `Sex`, `zip_code`: by their names" in (project / "usecase" / "CARD.md").read_text()
    assert "age, Sex, zip_code: marked as `sensitive` by name." in (project / "README.md").read_text()


def test_what_the_comment_says_makes_a_marked_column_a_feature(project: Path, tmp_path: Path):
    own = tmp_path / "loans"
    shutil.copytree(project, own)
    contract = own / "usecase" / "contract.yaml"
    before = "name: Sex\n    type: string\n    known: at_prediction\n    role: slice\n    sensitive: true"
    text = contract.read_text()
    assert before in text
    after = before.replace("role: slice", "role: feature").replace("sensitive: true", "sensitive: feature")
    settings = own / "config" / "local.yaml"
    settings.write_text(settings.read_text().replace("categorical: []", "categorical: [Sex]"))
    with pytest.raises(ContractError, match="'Sex' cannot be a feature"):
        features_of(own).check(contract_of(own))
    contract.write_text(text.replace(before, after))

    features_of(own).check(contract_of(own))
    assert features_of(own).categorical == ("Sex",)
    assert [column.name for column in contract_of(own).sensitive] == ["age", "Sex", "zip_code"]


def test_its_own_tests_pass(project: Path):
    own_tests_pass(project)


def test_somebody_may_say_that_a_column_is_not_sensitive(table: Path, tmp_path: Path):
    made = plan.make(table, "approved", not_sensitive=["Sex", "zip_code"])
    creation.create(made, tmp_path / "loans")
    contract = contract_of(tmp_path / "loans")

    assert [column.name for column in contract.sensitive] == ["age"]
    assert contract.column("Sex").role == contract.column("zip_code").role == "feature"
    assert made.slices == ["Sex"]


def test_a_project_without_such_columns_does_not_speak_of_them(table: Path, tmp_path: Path):
    creation.create(plan.make(table, "approved", not_sensitive=["Sex", "zip code", "age"]), tmp_path / "loans")

    for file in ("usecase/contract.yaml", "config/local.yaml", "usecase/CARD.md", "README.md"):
        assert "sensitive" not in (tmp_path / "loans" / file).read_text().lower()
        assert "fairness" not in (tmp_path / "loans" / file).read_text().lower()
    assert "evaluation" in yaml.safe_load((tmp_path / "loans" / "config" / "local.yaml").read_text())


def test_what_would_leave_nothing_to_learn_from_is_refused_with_the_option(table: Path, tmp_path: Path):
    pd.read_csv(table)[["age", "Sex", "approved"]].to_csv(tmp_path / "few.csv", index=False)
    with pytest.raises(TableError, match=r"but sensitive ones: name those .* --not-sensitive \(age, Sex\)\.$"):
        plan.make(tmp_path / "few.csv", "approved")
    with pytest.raises(TableError, match="The table has no column 'agee', which --not-sensitive names; did you mean"):
        plan.make(table, "approved", not_sensitive=["agee"])
