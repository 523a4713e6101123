# Written by `make export` from pretrained.py, with the methods that its classes get after their making.
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
import numpy as np
from ..graphs.sets import GraphSet
from ..scann.training import Trained
from ..structures.sets import StructureSet
from ..uae.training import TrainedNetwork
@dataclass(repr=False)
class Predictions:
    structures: StructureSet
    targets: tuple[str, ...]
    units: tuple[str, ...]
    values: np.ndarray
    scores: np.ndarray | None = ...

    def __len__(self) -> int:
        ...

    def __repr__(self) -> str:
        ...

    def columns(self) -> list[str]:
        ...

    def table(self):
        ...

    def ratios(self) -> np.ndarray:
        ...

    def atoms(self):
        ...
def about_trained(trained: Trained | TrainedNetwork, card: dict, trained_on: StructureSet) -> dict:
    ...
def trained_fields(about: dict) -> dict:
    ...
@contextlib.contextmanager
def fitting(path: Path | str) -> Iterator[None]:
    ...
@dataclass(repr=False)
class Pretrained(ABC):
    trained: Trained | TrainedNetwork
    card: dict
    seen: dict
    name: str = ...

    def __repr__(self) -> str:
        ...

    @property
    @abstractmethod
    def known(self) -> np.ndarray:
        ...

    @abstractmethod
    def graphs_of(self, structures: StructureSet, jobs: int | None=...) -> GraphSet:
        ...

    @abstractmethod
    def compute(self, graphs: GraphSet) -> tuple[np.ndarray, np.ndarray | None]:
        ...

    def predict(self, x, jobs: int | None=..., progress: bool | None=...) -> Predictions:
        ...

    def refused(self, structures: StructureSet) -> dict[int, str]:
        ...

    def unseen(self, structures: StructureSet) -> list[str]:
        ...
def predict_all(models: Sequence[Pretrained], structures: StructureSet, jobs: int | None=..., progress: bool | None=...) -> list[Predictions]:
    ...
