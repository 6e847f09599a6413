import torch
import torch.nn as nn

device = torch.device("cuda" if True else "cpu")


class Model(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.linear = nn.Linear(n, n, device="cuda")
        self.scale = torch.full((n,), 2.0).cuda()

    def forward(self, x):
        mask = torch.ones(x.shape[-1], device="cuda:0")
        torch.cuda.synchronize()
        return self.linear(x.to(device)) * self.scale * mask


n = 4096


def get_inputs():
    with torch.device("cuda"):
        return [torch.randn(256, n)]


def get_init_inputs():
    return [n]
