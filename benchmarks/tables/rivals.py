"""What the network is compared with: scikit-learn's gradient boosting and a linear model, one pair per task.

Both learn from the raw columns of the project's features, and nothing is set by looking at the evaluated rows. The
trees are HistGradientBoosting with its default settings; of a text, which they cannot read, they get the main
components of its words. The linear model gets what it needs: numbers scaled and filled in, categories one-hot, and the
words of texts by tf-idf; regularised as scikit-learn does by default, or, if numbers are predicted, as cross-validation
of the older rows chooses.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from data.contract import Target

if TYPE_CHECKING:
    import pandas as pd

    from models.features import FeatureSettings

COMPONENTS = 50
_MOST_CATEGORIES = 250  # The trees have 255 bins.
_FEWEST_OF_A_CATEGORY = 5


class Rivals(ABC):
    """The two of a task, and the measure that all are judged by.

    Attributes:
        measure: Its name.
        column: In which predictions have the network's answer.
    """

    measure: ClassVar[str]
    column: ClassVar[str]

    @staticmethod
    @abstractmethod
    def score(labels: np.ndarray, answers: np.ndarray) -> float:
        """The measure of answers [rows]; higher is better."""

    @staticmethod
    @abstractmethod
    def answers(column: np.ndarray) -> np.ndarray:
        """What is scored, [rows], of that column of predictions."""

    @staticmethod
    @abstractmethod
    def estimators(categories: Any) -> dict[str, Any]:
        """Trees and linear model, not fitted; for the trees, some columns are categories."""

    @staticmethod
    @abstractmethod
    def asked(estimator: Any, rows: Any) -> np.ndarray:
        """What is scored, [rows], of a fitted one of the two."""


class BinaryRivals(Rivals):
    """By the area under the ROC curve."""

    measure, column = "AUC", "probability"

    @staticmethod
    def score(labels: np.ndarray, answers: np.ndarray) -> float:
        """By ranks, ties halved (Hanley and McNeil, Radiology 1982); 0.5 if only one class is there."""
        from scipy.stats import rankdata

        positive = int(labels.sum())
        negative = len(labels) - positive
        if not positive or not negative:
            return 0.5
        ranks = rankdata(answers)[labels == 1].sum()
        return float((ranks - positive * (positive + 1) / 2) / (positive * negative))

    @staticmethod
    def answers(column: np.ndarray) -> np.ndarray:
        """The probability."""
        return column.astype("float64")

    @staticmethod
    def estimators(categories: Any) -> dict[str, Any]:
        """Classifiers."""
        return _classifiers(categories)

    @staticmethod
    def asked(estimator: Any, rows: Any) -> np.ndarray:
        """The probability."""
        return estimator.predict_proba(rows)[:, 1]


class MulticlassRivals(Rivals):
    """By the accuracy."""

    measure, column = "accuracy", "probabilities"

    @staticmethod
    def score(labels: np.ndarray, answers: np.ndarray) -> float:
        """The share of rows whose class is right."""
        return float(np.mean(labels == answers))

    @staticmethod
    def answers(column: np.ndarray) -> np.ndarray:
        """The number of the most probable class."""
        return np.stack(list(column)).argmax(axis=1)

    @staticmethod
    def estimators(categories: Any) -> dict[str, Any]:
        """Classifiers."""
        return _classifiers(categories)

    @staticmethod
    def asked(estimator: Any, rows: Any) -> np.ndarray:
        """The number of the class."""
        return estimator.predict(rows)


class RegressionRivals(Rivals):
    """By the share of the variance that is explained."""

    measure, column = "R\u00b2", "value"

    @staticmethod
    def score(labels: np.ndarray, answers: np.ndarray) -> float:
        """One less the ratio of the squared errors to those of the mean; 0 if all labels are equal."""
        spread = float(np.square(labels - labels.mean()).sum())
        return 1 - float(np.square(labels - answers).sum()) / spread if spread else 0.0

    @staticmethod
    def answers(column: np.ndarray) -> np.ndarray:
        """The value."""
        return column.astype("float64")

    @staticmethod
    def estimators(categories: Any) -> dict[str, Any]:
        """Regressors."""
        from sklearn.ensemble import HistGradientBoostingRegressor
        from sklearn.linear_model import RidgeCV

        return {
            "trees": HistGradientBoostingRegressor(categorical_features=categories, random_state=0),
            "linear": RidgeCV(alphas=np.logspace(-2, 3, 11)),
        }

    @staticmethod
    def asked(estimator: Any, rows: Any) -> np.ndarray:
        """The value."""
        return estimator.predict(rows)


_RIVALS: dict[str, type[Rivals]] = {
    "binary": BinaryRivals,
    "multiclass": MulticlassRivals,
    "regression": RegressionRivals,
}


def rivals(target: Target) -> type[Rivals]:
    """The two for what is predicted."""
    return _RIVALS[target.task]


def _classifiers(categories: Any) -> dict[str, Any]:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression

    return {
        "trees": HistGradientBoostingClassifier(categorical_features=categories, random_state=0),
        "linear": LogisticRegression(max_iter=1000),
    }


def answers_of(
    kind: str, target: Target, features: FeatureSettings, older: pd.DataFrame, newest: pd.DataFrame
) -> np.ndarray:
    """What one of the two, which has learned from the older rows, answers for the newest ones: [rows]."""
    pair = rivals(target)
    first = len(features.measured)
    estimator = pair.estimators(list(range(first, first + len(features.categorical))))[kind]
    reading = {"trees": _for_trees, "linear": _for_linear}[kind](features)
    estimator.fit(reading.fit_transform(_typed(older, features)), older[target.label])
    return pair.asked(estimator, reading.transform(_typed(newest, features)))


def _typed(rows: pd.DataFrame, features: FeatureSettings) -> pd.DataFrame:
    import pandas as pd

    columns = {name: rows[name].astype("float64") for name in features.measured}
    for name in (*features.categorical, *features.text):
        columns[name] = rows[name].astype("string").fillna("").astype("object")
    return pd.DataFrame(columns)


def _for_linear(features: FeatureSettings) -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler())
    categories = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=_FEWEST_OF_A_CATEGORY)
    texts = [(name, TfidfVectorizer(min_df=2), name) for name in features.text]
    return ColumnTransformer(
        [("numbers", numbers, list(features.measured)), ("categories", categories, list(features.categorical)), *texts]
    )


def _for_trees(features: FeatureSettings) -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder

    texts = [
        (name, make_pipeline(TfidfVectorizer(min_df=2), TruncatedSVD(COMPONENTS, random_state=0)), name)
        for name in features.text
    ]
    # What the older rows do not have is -1, which the trees take for a missing value.
    categories = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, max_categories=_MOST_CATEGORIES)
    return ColumnTransformer(
        [
            ("numbers", "passthrough", list(features.measured)),
            ("categories", categories, list(features.categorical)),
            *texts,
        ]
    )
