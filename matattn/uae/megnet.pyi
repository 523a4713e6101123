# Written by `make export` from megnet.py, with the methods that its classes get after their making.
from collections.abc import Sequence
from dataclasses import dataclass
from torch import Tensor, nn
from ..graphs.batch import Batch
from ..graphs.sets import GraphSet
from ..scann.layers import Gaussians
from ..structures.sets import StructureSet
from .bonds import Counts
from .elements import ElementEmbedding, ElementTable
from pathlib import Path
from matattn.uae.pretrained import PretrainedBackend
from typing import Any
@dataclass(frozen=True, kw_only=True)
class MEGNetConfig:
    blocks: int = ...
    wide: int = ...
    narrow: int = ...
    readout: int = ...
    passes: int = ...
    gaussians: int = ...
    spread: float = ...
    radius: float = ...
def megnet_graph(structures: StructureSet, config: MEGNetConfig=..., jobs: int | None=...) -> GraphSet:
    ...
def softplus2(x: Tensor) -> Tensor:
    ...
class MLP(nn.Module):
    layers: nn.ModuleList
    last: bool

    def __init__(self, widths: Sequence[int], last: bool=...):
        ...

    def forward(self, x: Tensor) -> Tensor:
        ...
class MEGNetBlock(nn.Module):
    before: Any
    mix: Any
    bond: Any
    atom: Any
    state: Any
    atom_mix: Any
    state_mix: Any

    def __init__(self, config: MEGNetConfig, dense_first: bool):
        ...

    def forward(self, atoms: Tensor, bonds: Tensor, state: Tensor, batch: Batch, counts: Counts) -> tuple[Tensor, Tensor, Tensor]:
        ...
class Set2Set(nn.Module):
    hidden: int
    passes: int
    rows: Any
    gates: nn.Linear

    def __init__(self, width: int, hidden: int, passes: int):
        ...

    def forward(self, x: Tensor, weigh: Tensor, graph: Tensor, size: int) -> Tensor:
        ...
class MEGNet(nn.Module):
    config: MEGNetConfig
    elements: ElementEmbedding
    distances: Gaussians
    before: nn.ModuleList
    blocks: nn.ModuleList
    of_atoms: Any
    of_bonds: Any
    last: MLP
    out: Any

    def __init__(self, config: MEGNetConfig, table: ElementTable, targets: int=..., frozen: bool | None=...):
        ...

    def forward(self, batch: Batch) -> Tensor:
        ...

    @staticmethod
    def from_pretrained(name: str | Path, device: str=...) -> PretrainedBackend:
        ...
