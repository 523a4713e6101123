# Written by `make export` from embeddings.py, with the methods that its classes get after their making.
from dataclasses import dataclass
from pathlib import Path
import numpy as np
from torch import nn
from ..structures.sets import StructureSet
from .elements import ElementTable
from .transformer import CrystalTransformer
@dataclass(frozen=True, repr=False)
class UAE:
    vectors: np.ndarray
    counts: np.ndarray
    name: str = ...
    card: dict = ...
    columns: np.ndarray | None = ...

    def __repr__(self) -> str:
        ...

    @property
    def data(self) -> str:
        ...

    @property
    def width(self) -> int:
        ...

    @property
    def rare(self) -> tuple[str, ...]:
        ...

    def __getitem__(self, element: str | int) -> np.ndarray:
        ...

    def similarity(self, a: str | int, b: str | int) -> float:
        ...

    def nearest(self, what: str | int | np.ndarray | list, k: int=...) -> list[tuple[str, float]]:
        ...

    @staticmethod
    def from_transformer(model: CrystalTransformer, counts: np.ndarray, name: str=..., card: dict | None=..., bias: bool=..., start: np.ndarray | None=...) -> UAE:
        ...

    def table(self, trainable: bool=..., columns: bool=...) -> ElementTable:
        ...

    def to_embedding(self, frozen: bool=...) -> nn.Embedding:
        ...

    def to_cgcnn_json(self, path: Path | str) -> Path:
        ...

    def to_csv(self, path: Path | str) -> Path:
        ...

    def save(self, path: Path | str, card: dict | None=...) -> Path:
        ...

    @staticmethod
    def load(name: str | Path, width: int | None=...) -> UAE:
        ...
def number_of(element: str | int) -> int:
    ...
def crystals_per_element(structures: StructureSet) -> np.ndarray:
    ...
def learned(vectors: np.ndarray, start: np.ndarray, counts: np.ndarray) -> np.ndarray:
    ...
def uae_names() -> list[str]:
    ...
