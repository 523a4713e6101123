# Written by `make export` from batch.py, with the methods that its classes get after their making.
from dataclasses import dataclass
import numpy as np
import torch
@dataclass
class Batch:
    numbers: torch.Tensor
    batch: torch.Tensor
    edge_index: torch.Tensor
    distance: torch.Tensor
    image: torch.Tensor
    ptr: torch.Tensor
    edge_ptr: torch.Tensor
    targets: torch.Tensor
    mask: torch.Tensor
    indices: torch.Tensor
    names: np.ndarray
    n_graphs: int
    features: dict[str, torch.Tensor] = ...
    reverse: torch.Tensor | None = ...
    positions: torch.Tensor | None = ...
    cell: torch.Tensor | None = ...
    pairs: torch.Tensor | None = ...
    cosine: torch.Tensor | None = ...

    @property
    def neighbour(self) -> torch.Tensor:
        ...

    @property
    def centre(self) -> torch.Tensor:
        ...

    @property
    def ids(self) -> np.ndarray:
        ...

    @property
    def n_real(self) -> int:
        ...

    def __repr__(self) -> str:
        ...

    def to(self, device: str | torch.device, non_blocking: bool=...) -> Batch:
        ...

    def pin_memory(self) -> Batch:
        ...
