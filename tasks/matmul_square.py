"""The product of two square matrices in full float32 (no TF32).

The arithmetic grows with n^3 and the data with n^2, so the question is reuse: how many multiplications each value
brings once it is in shared memory, and then in a register. Without tensor cores an H200's ceiling is 67 TFLOP/s; that of
cuBLAS, which eager calls, lies below it, and so will yours: this task is for learning where the time goes.
"""

import torch
from torch import nn

n = 4096

sizes = {
    "small": {"n": 64},
    "full": {"n": 4096},
    "odd": {"n": 67},
}


class Model(nn.Module):
    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.matmul(a, b)


def get_inputs():
    return [torch.randn(n, n), torch.randn(n, n)]


def get_init_inputs():
    return []
