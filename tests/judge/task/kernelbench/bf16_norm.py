import torch
import torch.nn as nn


class Model(nn.Module):
    def __init__(self, features, eps=1e-5):
        super().__init__()
        self.norm = nn.LayerNorm(features, eps=eps, dtype=torch.bfloat16)

    def forward(self, x):
        return self.norm(x)


features = 8192


def get_inputs():
    return [torch.randn(4096, features, dtype=torch.bfloat16)]


def get_init_inputs():
    return [features]
