"""The `host` target: device code compiled for the CPU, with CUDA's execution model around it."""
