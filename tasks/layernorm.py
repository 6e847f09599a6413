"""Layer normalisation over the last axis with a learned scale and shift.

y = (x - mean) / sqrt(var + eps) * weight + bias. The trap is the variance: E[x^2] - E[x]^2 needs one pass less and
loses every digit where the mean is large against the spread. Two passes over a row held in registers, or Welford's
update, cost no more memory traffic and are right.
"""

import torch
from torch import nn

rows = 8192
cols = 4096

sizes = {
    "small": {"rows": 64, "cols": 512},
    "full": {"rows": 8192, "cols": 4096},
    "odd": {"rows": 21, "cols": 1001},
}


class Model(nn.Module):
    def __init__(self, dim: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(1.0 + 0.1 * torch.randn(dim))
        self.bias = nn.Parameter(0.1 * torch.randn(dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.layer_norm(x, x.shape[-1:], self.weight, self.bias, self.eps)


def get_inputs():
    return [torch.randn(rows, cols)]


def get_init_inputs():
    return [cols]
