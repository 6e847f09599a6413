"""How many judges a session has and where each works: side by side on the host, or one for each GPU."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

import msgspec

from workbench.core.verdict import Target
from workbench.engine.seat import Post
from workbench.profile.devices import choose
from workbench.profile.nvml import Reading, read_devices


class Posts(msgspec.Struct, frozen=True, kw_only=True):
    """Never empty: a judge without a device says itself what is missing."""

    posts: tuple[Post, ...]
    warnings: tuple[str, ...] = ()


def choose_posts(
    target: Target,
    judges: int | None,
    *,
    environment: Mapping[str, str] = os.environ,
    read: Callable[[], Reading] = read_devices,
) -> Posts:
    """The posts of a session; asks the driver where the target is cuda, which takes up to seconds.

    Args:
        judges: how many were asked for; None: one, or one for each GPU of CUDA_VISIBLE_DEVICES.
    """
    if target != "cuda":
        count = judges or 1
        return Posts(posts=tuple(Post(name=f"Judge {n}" if count > 1 else "") for n in range(1, count + 1)))
    reading = read()
    choice = choose(
        reading.devices,
        visible=environment.get("CUDA_VISIBLE_DEVICES"),
        count=judges,
        unread=reading.unread,
        pci_order=environment.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID",
    )
    several = len(choice.devices) > 1
    posts = tuple(
        Post(name=f"The judge on {one}" if several else "", env={"CUDA_VISIBLE_DEVICES": one.visible})
        for one in choice.devices
    )
    # Without a device one judge is started all the same: it says what that means for the task.
    return Posts(posts=posts or (Post(),), warnings=choice.warnings)
