"""A compiler with each NVRTC for all tests that read compiled code; the cache is the run's own.

WORKBENCH_TEST_NVRTC names a folder with NVRTC 13.0, as WORKBENCH_NVRTC would; `.ci/run` sets it. Without it the tests
with that version are skipped.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from workbench.core.build import CudaBuild
from workbench.core.plan import CompileOptions
from workbench.dialect.source import CandidateSource
from workbench.profile.audit import AuditReport, audit
from workbench.runner.compiler import Compiler

Build = Callable[..., CudaBuild]
Audit = Callable[..., AuditReport]


OLDEST = os.environ.get("WORKBENCH_TEST_NVRTC", "")
"""NVRTC 13.0, which torch 2.11 pins; "" where it is not here."""
without_oldest = pytest.mark.skipif(
    not OLDEST,
    reason="WORKBENCH_TEST_NVRTC names no NVRTC 13.0 (pip install --target FOLDER nvidia-cuda-nvrtc==13.0.*)",
)


@pytest.fixture(scope="session")
def compiler() -> Iterator[Compiler]:
    """A warm compiler with the installed NVRTC."""
    with Compiler(timeout_s=90, nvrtc="") as running:
        yield running


@pytest.fixture(
    scope="session",
    params=[pytest.param(""), pytest.param(OLDEST, marks=without_oldest)],
    ids=["installed NVRTC", "NVRTC 13.0"],
)
def each_compiler(request: pytest.FixtureRequest) -> Iterator[Compiler]:
    """A warm compiler with the installed NVRTC, then one with 13.0."""
    with Compiler(timeout_s=90, nvrtc=request.param) as running:
        assert not request.param or running.versions["nvrtc"] == "NVRTC 13.0"
        yield running


@pytest.fixture(scope="session")
def build(compiler: Compiler) -> Build:
    """build(text, *kernels, arch=...) with the real NVRTC."""

    def run(text: str, *kernels: str, arch: str = "sm_90a") -> CudaBuild:
        source = CandidateSource(plan="", plan_line=1, device=text, sha256="")
        made = compiler.build(source, CompileOptions(), kernels or ("k",), arch=arch, host=False).cuda
        assert isinstance(made, CudaBuild), made
        return made

    return run


@pytest.fixture(scope="session")
def audited(build: Build) -> Audit:
    """audited(text, *kernels, arch=...): the report on what the real compiler made of it."""

    def run(text: str, *kernels: str, arch: str = "sm_90a") -> AuditReport:
        return audit(build(text, *kernels, arch=arch), kernels or ("k",))

    return run
