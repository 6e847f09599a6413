import torch
import torch.nn as nn


class Model(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.proj = nn.Linear(dim, 2 * dim).half()

    def forward(self, x):
        a, b = self.proj(x).chunk(2, dim=-1)
        return a * torch.nn.functional.gelu(b)


batch, dim = 4096, 1024


def get_inputs():
    return [torch.randn(batch, dim).half()]


def get_init_inputs():
    return [dim]
