"""WORKBENCH_NVRTC: an older driver needs an older NVRTC than the newest wheel."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from workbench.core.build import BuildFailure, CudaBuild
from workbench.core.plan import CompileOptions
from workbench.dialect.source import CandidateSource
from workbench.runner.compiler import Compiler
from workbench.runner.compiler.chosen import BadChoice, chosen, nvrtc_headers
from workbench.runner.compiler.headers import find_headers

OLDEST = os.environ.get("WORKBENCH_TEST_NVRTC", "")
needs_oldest = pytest.mark.skipif(not OLDEST, reason="WORKBENCH_TEST_NVRTC names no NVRTC 13.0")
TEXT = 'extern "C" __global__ void k(const float* x, float* y) { y[0] = x[0] * 2; }'


def _build(compiler: Compiler) -> CudaBuild | BuildFailure | None:
    source = CandidateSource(plan="", plan_line=1, device=TEXT, sha256="")
    return compiler.build(source, CompileOptions(), ("k",), arch="sm_90a", host=False).cuda


@pytest.mark.parametrize("named", ["relative/folder", "/nonexistent", "/etc/passwd", "{empty}"])
def test_what_names_no_nvrtc_is_refused_in_a_sentence(tmp_path: Path, named: str) -> None:
    with pytest.raises(BadChoice, match="WORKBENCH_NVRTC"):
        chosen(named.format(empty=tmp_path))


def test_a_library_of_another_major_version_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "libnvrtc.so.12").write_bytes(b"")
    (tmp_path / "libnvrtc-builtins.so.13.0").write_bytes(b"")
    with pytest.raises(BadChoice):
        chosen(str(tmp_path))
    with pytest.raises(BadChoice):
        chosen(str(tmp_path / "libnvrtc.so.12"))


def test_a_wrong_choice_is_a_missing_compiler_and_never_the_installed_one(tmp_path: Path) -> None:
    (tmp_path / "libnvrtc.so.13").write_bytes(b"no library")
    with Compiler(cache=tmp_path / "builds", nvrtc=str(tmp_path)) as compiler:
        assert "nvrtc" not in compiler.versions
        assert "WORKBENCH_NVRTC" in compiler.absent["nvrtc"]
        made = _build(compiler)
    assert isinstance(made, BuildFailure) and made.cause == "missing"


@needs_oldest
def test_the_named_nvrtc_compiles_and_its_builds_are_its_own(tmp_path: Path) -> None:
    with Compiler(cache=tmp_path, nvrtc="") as newest, Compiler(cache=tmp_path, nvrtc=OLDEST) as oldest:
        first, second = _build(newest), _build(oldest)
        again = _build(oldest)
    assert isinstance(first, CudaBuild) and isinstance(second, CudaBuild) and isinstance(again, CudaBuild)
    assert second.version == "NVRTC 13.0" != first.version
    assert not second.cached and again.cached and again.cubin == second.cubin
    assert b"13.0" in second.ptx.encode()[:400]


@needs_oldest
def test_headers_beside_the_named_nvrtc_are_taken_with_it() -> None:
    folders = nvrtc_headers(OLDEST).folders
    assert folders != find_headers().folders and folders[1].startswith(OLDEST)
    assert nvrtc_headers("").folders == find_headers().folders
    choice = chosen(OLDEST)
    assert choice is not None and chosen(str(choice.library)) == choice == chosen(str(choice.folder))
