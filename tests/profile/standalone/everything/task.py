"""One of each that a plan can hand to a kernel; what it computes is beside the point."""

import torch
from torch import nn

sizes = {"small": {"rows": 3, "cols": 4096}, "tiny": {"rows": 1, "cols": 8}}
rows, cols = 3, 4096


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.eps = 1e-6
        self.weight = nn.Parameter(torch.randn(8))
        self.register_buffer("shift", torch.arange(4, dtype=torch.int32))

    def forward(self, x: torch.Tensor, half: torch.Tensor, state: torch.Tensor, mask: torch.Tensor):
        state.add_(1)
        return x * 2 + self.weight.sum() + self.shift.sum(), half * 2, mask.sum()


def get_inputs():
    return [
        torch.randn(rows, cols),
        torch.randn(5, 3).to(torch.bfloat16),
        torch.randint(0, 100, (7,)),
        torch.rand(11) < 0.5,
    ]


def get_init_inputs():
    return []
