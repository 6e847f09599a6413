from types import SimpleNamespace

import torch
import torch.nn as nn


class Norm(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.eps = config.norm_eps
        self.weight = nn.Parameter(torch.ones(config.hidden))

    def forward(self, x):
        h = x.float()
        h = h * torch.rsqrt(h.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * h.to(x.dtype)


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.norm = Norm(config)
        self.up = nn.Linear(config.hidden, config.inner)
        self.down = nn.Linear(config.inner, config.hidden)

    def forward(self, x):
        return x + self.down(torch.nn.functional.gelu(self.up(self.norm(x)), approximate="tanh"))


class Model(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(Block(config) for _ in range(config.layers))

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


config = SimpleNamespace(hidden=1024, inner=4096, layers=2, norm_eps=1e-6)


def get_inputs():
    return [torch.randn(16, 512, config.hidden)]


def get_init_inputs():
    return [config]
