# Written by `make export` from model.py, with the methods that its classes get after their making.
from dataclasses import dataclass
from typing import NamedTuple
from torch import Tensor, nn
from ..graphs.batch import Batch
from .layers import Gaussians, GlobalAttention
from pathlib import Path
from matattn.scann.pretrained import PretrainedSCANN
from typing import Any
@dataclass(frozen=True, kw_only=True)
class SCANNConfig:
    plus: bool = ...
    layers: int = ...
    width: int = ...
    heads: int = ...
    embedding: int = ...
    elements: int = ...
    d_t: float = ...
    gaussians: int = ...
    dropout: float = ...
    targets: int = ...
    readout: str = ...
    atoms: float = ...
    scores: str = ...
MOLECULES: SCANNConfig
CRYSTALS: SCANNConfig
class Prediction(NamedTuple):
    values: Tensor
    scores: Tensor
class Head(nn.Module):
    attention: GlobalAttention
    hidden: Any
    out: Any

    def __init__(self, config: SCANNConfig):
        ...

    def forward(self, x: Tensor, structure: Tensor, size: int) -> tuple[Tensor, Tensor]:
        ...
class SCANN(nn.Module):
    config: SCANNConfig
    embedding: nn.Embedding
    atom: Any
    dropout: nn.Dropout
    distances: Gaussians
    angles: Gaussians
    edges: nn.ModuleList
    atoms: nn.ModuleList
    heads: nn.ModuleList
    from_distance: Any
    from_angle: Any

    def __init__(self, config: SCANNConfig=...):
        ...

    def encode(self, batch: Batch) -> Tensor:
        ...

    def forward(self, batch: Batch) -> Prediction:
        ...

    @staticmethod
    def from_pretrained(name: str | Path, device: str=...) -> PretrainedSCANN:
        ...
