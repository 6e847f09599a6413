"""One warm judge for all candidates that are shipped or printed in the documents."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from warm_judge import WarmJudge


@pytest.fixture(scope="session")
def judge() -> Iterator[WarmJudge]:
    if not any(shutil.which(compiler) for compiler in ("g++", "clang++", "c++")):
        pytest.skip("the host target needs a C++ compiler (apt-get install g++)")
    warm = WarmJudge()
    yield warm
    warm.close()
