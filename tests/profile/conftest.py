"""One compiler for all tests that read compiled code; the cache is the run's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from workbench.core.build import CudaBuild
from workbench.core.plan import CompileOptions
from workbench.dialect.source import CandidateSource
from workbench.profile.audit import AuditReport, audit
from workbench.runner.compiler import Compiler

Build = Callable[..., CudaBuild]
Audit = Callable[..., AuditReport]


@pytest.fixture(scope="session")
def compiler() -> Iterator[Compiler]:
    with Compiler(timeout_s=90) as running:
        yield running


@pytest.fixture(scope="session")
def build(compiler: Compiler) -> Build:
    """build(text, *kernels, arch=...) with the real NVRTC."""

    def run(text: str, *kernels: str, arch: str = "sm_90a") -> CudaBuild:
        source = CandidateSource(plan="", plan_line=1, device=text, sha256="")
        made = compiler.build(
            source, CompileOptions(), kernels or ("k",), file_name="x.cu", arch=arch, host=False
        ).cuda
        assert isinstance(made, CudaBuild), made
        return made

    return run


@pytest.fixture(scope="session")
def audited(build: Build) -> Audit:
    """audited(text, *kernels, arch=...): the report on what the real compiler made of it."""

    def run(text: str, *kernels: str, arch: str = "sm_90a") -> AuditReport:
        return audit(build(text, *kernels, arch=arch), kernels or ("k",))

    return run
