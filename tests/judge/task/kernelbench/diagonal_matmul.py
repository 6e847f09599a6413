import torch
import torch.nn as nn


class Model(nn.Module):
    """diag(A) @ B, with A dense and diagonal."""

    def forward(self, A, B):
        return A @ B


M = 4096
N = 4096


def get_inputs():
    return [torch.diag(torch.rand(N)), torch.rand(N, M)]


def get_init_inputs():
    return []
