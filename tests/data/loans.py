"""A contract that has nothing to do with flights: it must serve another dataset as it is."""

from typing import Any


def column(name: str, kind: str, known: str, role: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "known": known, "role": role, "meaning": f"The {name}.", **more}


INCOME = column("income", "float32", "application", "feature", unit="euro a year", range=[0, 1e6], nullable=True)
LOANS = {
    "dataset": "loans",
    "label": "defaulted",
    "prediction_time": "when the customer applies",
    "stages": [
        {"name": "on_file", "feasible": True, "meaning": "Known to the bank."},
        {"name": "application", "feasible": True, "meaning": "On the form."},
        {"name": "after_payment", "feasible": False, "meaning": "Once the loan is paid out."},
        {"name": "after_a_year", "feasible": False, "meaning": "Once the first year is over."},
    ],
    "columns": [
        column("id", "string", "on_file", "key"),
        INCOME,
        column("branch", "string", "on_file", "slice", values=["north", "south"]),
        column("arrears", "float32", "after_payment", "outcome"),
        column("defaulted", "int64", "after_a_year", "label", range=[0, 1]),
    ],
}
TABLE = {
    **LOANS,
    "columns": [
        column("id", "string", "on_file", "key"),
        column("day", "timestamp", "application", "key"),
        INCOME,
        column("cars", "int64", "application", "feature"),
        column("defaulted", "int64", "after_a_year", "label"),
    ],
}
