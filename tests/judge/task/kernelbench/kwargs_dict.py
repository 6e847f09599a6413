from dataclasses import dataclass

import torch
import torch.nn as nn


@dataclass
class Batch:
    hidden: torch.Tensor
    mask: torch.Tensor | None
    scale: float = 0.5


class Model(nn.Module):
    """Inputs by keyword: a dataclass, a dict, a tuple and None."""

    def forward(self, batch, extras, pair, bias=None, *, residual: bool):
        x = batch.hidden * batch.scale + extras["shift"]
        if bias is not None:
            x = x + bias
        if residual:
            x = x + batch.hidden
        return x * pair[0] + pair[1], Batch(x, None)


rows = 2048
cols = 1000


def get_inputs():
    return {
        "batch": Batch(torch.randn(rows, cols), None),
        "extras": {"shift": torch.randn(cols)},
        "pair": (torch.rand(rows, 1), torch.rand(cols)),
        "bias": None,
        "residual": True,
    }
