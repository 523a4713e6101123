# Written by `make export` from cgcnn.py, with the methods that its classes get after their making.
from dataclasses import dataclass
from torch import Tensor, nn
from ..graphs.batch import Batch
from ..graphs.sets import GraphSet
from ..scann.layers import Gaussians
from ..structures.sets import StructureSet
from .bonds import Counts
from .elements import ElementEmbedding, ElementTable
from .gated import Norm
from pathlib import Path
from matattn.uae.pretrained import PretrainedBackend
@dataclass(frozen=True, kw_only=True)
class CGCNNConfig:
    convolutions: int = ...
    width: int = ...
    hidden: int = ...
    hidden_layers: int = ...
    neighbours: int = ...
    radius: float = ...
    step: float = ...
def cgcnn_graph(structures: StructureSet, config: CGCNNConfig=..., jobs: int | None=...) -> GraphSet:
    ...
class CGCNNConv(nn.Module):
    full: nn.Linear
    bond_norm: Norm
    atom_norm: Norm

    def __init__(self, width: int, gaussians: int):
        ...

    def forward(self, x: Tensor, bonds: Tensor, ends: Tensor, counts: Counts) -> Tensor:
        ...
class CGCNN(nn.Module):
    config: CGCNNConfig
    elements: ElementEmbedding
    atoms: nn.Linear
    distances: Gaussians
    convolutions: nn.ModuleList
    dense: nn.ModuleList
    out: nn.Linear

    def __init__(self, config: CGCNNConfig, table: ElementTable, targets: int=..., frozen: bool | None=...):
        ...

    def forward(self, batch: Batch) -> Tensor:
        ...

    @staticmethod
    def from_pretrained(name: str | Path, device: str=...) -> PretrainedBackend:
        ...
