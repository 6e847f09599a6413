"""Compiles candidates in a warm, sandboxed process of its own: NVRTC and the host compiler, side by side."""

from workbench.runner.compiler.client import Builds, Compiler

__all__ = ["Builds", "Compiler"]
