"""The candidate dialect: device code and a plan, no host code (docs/dialect.md).

`source` takes a file apart, `planner` evaluates its plan in a sandboxed process, `check` compares the result with the
task's outputs and the compiled kernels.
"""
