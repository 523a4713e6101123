# Written by `make export` from store.py, with the methods that its classes get after their making.
from pathlib import Path
import numpy as np
import torch
from .batch import Batch
from .runs import Column
from .sets import GraphSet
from typing import Any
class GraphStore:
    name: Any
    ids: Any
    units: Any
    method: Any
    embedded: Any
    target_names: Any
    n_atoms: Any
    n_edges: Any
    atom_offsets: Any
    edge_offsets: Any
    bounds: Any
    columns: dict[str, Column]
    features: dict[str, Column]
    rows: dict[str, torch.Tensor]
    n_pairs: np.ndarray | None
    device: torch.device
    backtracking: bool | None
    pin: Any

    def __init__(self, graphs: GraphSet, columns: dict[str, Column], features: dict[str, Column], rows: dict[str, torch.Tensor], n_pairs: np.ndarray | None, device: torch.device, pin: bool, backtracking: bool | None):
        ...

    def __len__(self) -> int:
        ...

    def __repr__(self) -> str:
        ...

    @property
    def n_bytes(self) -> int:
        ...

    @staticmethod
    def from_graphs(graphs: GraphSet, device: str=..., dtype: torch.dtype=..., reverse: bool=..., pairs: bool=..., backtracking: bool=..., structures=..., pin: bool=...) -> GraphStore:
        ...

    @staticmethod
    def open(path: str | Path, **options) -> GraphStore:
        ...

    def batch(self, indices, pad_to: tuple[int, ...] | None=..., compiled: bool=...) -> Batch:
        ...
