"""One expert for each token among those that are in use; the others' logits are filled with the least number."""

import torch
from torch import nn

tokens, hidden, experts = 4096, 1024, 64
sizes = {
    "small": {"tokens": 48, "hidden": 96, "experts": 24},
    "odd": {"tokens": 7, "hidden": 33, "experts": 19},
}


class Model(nn.Module):
    def __init__(self, hidden, experts):
        super().__init__()
        self.gate = nn.Linear(hidden, experts, bias=False)
        self.register_buffer("unused", torch.arange(experts) >= experts - 4)

    def forward(self, x):
        logits = self.gate(x)
        return logits.masked_fill(self.unused, torch.finfo(logits.dtype).min).argmax(-1)


def get_inputs():
    return [torch.randn(tokens, hidden)]


def get_init_inputs():
    return [hidden, experts]
