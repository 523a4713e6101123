# Written by `make export` from alignn.py, with the methods that its classes get after their making.
from dataclasses import dataclass
from torch import Tensor, nn
from ..graphs.batch import Batch
from ..graphs.sets import GraphSet
from ..structures.sets import StructureSet
from .elements import ElementEmbedding, ElementTable
from .gated import Norm
from pathlib import Path
from matattn.uae.pretrained import PretrainedBackend
from typing import Any
@dataclass(frozen=True, kw_only=True)
class ALIGNNConfig:
    line_layers: int = ...
    graph_layers: int = ...
    width: int = ...
    embedding: int = ...
    distances: int = ...
    angles: int = ...
    radius: float = ...
    neighbours: int = ...
def alignn_graph(structures: StructureSet, config: ALIGNNConfig=..., jobs: int | None=...) -> GraphSet:
    ...
@dataclass(frozen=True)
class Links:
    ends: Tensor
    atom_count: Tensor
    count: Tensor
    kind: Tensor | None = ...

    @property
    def weigh(self) -> Tensor:
        ...
class GatedConv(nn.Module):
    atoms: nn.Linear
    edges: nn.Linear
    atom_norm: Norm
    edge_norm: Norm

    def __init__(self, width: int):
        ...

    def forward(self, x: Tensor, edges: Tensor, links: Links, update_edges: bool=...) -> tuple[Tensor, Tensor]:
        ...
class Embedding(nn.Module):
    linear: nn.Linear
    norm: Norm

    def __init__(self, inputs: int, outputs: int):
        ...

    def forward(self, x: Tensor, count: Tensor) -> Tensor:
        ...
class Expansion(nn.Module):
    spacing: Any
    first: Embedding
    second: Embedding

    def __init__(self, start: float, end: float, gaussians: int, config: ALIGNNConfig):
        ...

    def forward(self, x: Tensor, count: Tensor) -> Tensor:
        ...
class ALIGNN(nn.Module):
    config: ALIGNNConfig
    elements: ElementEmbedding
    atoms: Embedding
    distances: Expansion
    angles: Expansion
    pairs: nn.ModuleList
    convolutions: nn.ModuleList
    out: nn.Linear

    def __init__(self, config: ALIGNNConfig, table: ElementTable, targets: int=..., frozen: bool | None=...):
        ...

    def forward(self, batch: Batch) -> Tensor:
        ...

    @staticmethod
    def from_pretrained(name: str | Path, device: str=...) -> PretrainedBackend:
        ...
