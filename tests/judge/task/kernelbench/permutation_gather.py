import torch
import torch.nn as nn


class Model(nn.Module):
    def forward(self, x, order, edges):
        return x[order], torch.searchsorted(edges, x[:, 0].contiguous())


n = 65536


def get_inputs():
    return [torch.randn(n, 64), torch.randperm(n), torch.randn(1000).sort().values]
