"""What a candidate uses that the host target computes otherwise than the device: named in `unchecked`, not judged."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workbench.judge.worker.judging import Judging

_FAST = re.compile(r"\b__(?:(?:sin|cos|sincos|tan|tanh|exp|exp10|log|log2|log10|pow)f|fdividef)\b")
_BLOCK_SCOPE = re.compile(r"\batomic\w+_block\b")


def unlike_the_device(judging: Judging) -> Iterator[str]:
    """One line for each; by the candidate's text and its cubins."""
    text = judging.source.device if judging.source is not None else ""
    # A define may carry a name into the code.
    text = "\n".join([text, *(str(value) for options in judging.builds for _, value in options.defines)])
    fast = sorted({m[0] for m in _FAST.finditer(text)})
    fast = ["compile(fast_math=True)"] * any(options.fast_math for options in judging.builds) + fast
    if fast:
        yield f"what {', '.join(fast[:6])} give on the device: the host computes them as the exact functions"
    if scoped := sorted({m[0] for m in _BLOCK_SCOPE.finditer(text)}):
        yield f"{', '.join(scoped[:6])}: the host orders them between blocks too, as the device does not"
    kept: dict[str, int] = {}
    for built in judging.builds.values():
        for kernel in built.kernels.values():
            if (size := kernel.stack_bytes - kernel.spill_bytes) > 0:
                kept[kernel.name] = max(kept.get(kernel.name, 0), size)
    for name, size in kept.items():
        yield (
            f"indices past the end of a thread's local arrays ({name} keeps {size} bytes of them in local memory): "
            "they hit other memory on the device than here"
        )
