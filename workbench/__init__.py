"""A terminal workbench in which an engineer evolves CUDA kernels for a PyTorch task."""

__version__ = "0.1.0"
