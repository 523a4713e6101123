"""A program that uses the library, for the type checker: `right` is right, and each line of `wrong` is an error that must be found."""

from pathlib import Path

import numpy as np

from matattn.models.pretrained import Predictions
from matattn.scann import SCANN
from matattn.structures.prepared import load_structures
from matattn.structures.sets import StructureSet
from matattn.uae import CGCNN, UAE


def right() -> list[str]:
    "The ordinary things."
    molecules: StructureSet = load_structures("xtb-molecules")[4:9]
    found: Predictions = SCANN.from_pretrained("qm9-homo", device="cpu").predict(molecules)
    vector: np.ndarray = UAE.load("mt3")["Fe"]
    places: np.ndarray = molecules.positions()
    alike = [f"{name} {cosine:.2f}" for name, cosine in UAE.load("mt3").nearest("Fe", 4)]
    return [str(found.values.shape), str(vector.shape), str(places.shape), molecules.ids[0], *alike]


def wrong() -> None:
    "An error on each line: `warn_unused_ignores` makes one of a line without."
    SCANN.from_pretrained(name=5)  # type: ignore[arg-type]
    CGCNN.from_pretrained("mp-ef").forecast([])  # type: ignore[attr-defined]
    UAE.load("mt3").nearest("Fe", "four")  # type: ignore[arg-type]
    StructureSet.load(Path("a.npz")).places()  # type: ignore[attr-defined]
    StructureSet(numbers="CH4")  # type: ignore[call-arg, arg-type]
