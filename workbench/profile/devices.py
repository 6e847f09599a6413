"""Which GPUs a session's judges take: those of CUDA_VISIBLE_DEVICES, one judge each, else the most idle one.

Pure: what the machine has is read elsewhere (`nvml`). An entry of CUDA_VISIBLE_DEVICES is handed to its judge as it
stands, so that it means what it means to CUDA, whatever order CUDA numbers devices in.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

BUSY_PERCENT = 5
"""Utilisation below this counts as none: a desktop's clock ticks."""


class DeviceProcess(msgspec.Struct, frozen=True, kw_only=True):
    """A process that computes on a device."""

    pid: int
    name: str = ""
    used_bytes: int = 0
    """Of the device's memory; 0 where the driver does not say."""

    def __str__(self) -> str:
        words = f"{self.name or 'a process'} ({self.pid}"
        return f"{words}, {self.used_bytes / (1 << 30):.1f} GiB)" if self.used_bytes else f"{words})"


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """A GPU, or a MIG slice of one, as NVML reports it now."""

    uuid: str
    """"GPU-..." or "MIG-..."; CUDA_VISIBLE_DEVICES takes it."""
    name: str
    index: int
    """In the order of the PCI bus; a slice has its GPU's."""
    arch: str = ""
    """"sm_90"; "" where the driver does not say."""
    total_bytes: int = 0
    used_bytes: int = 0
    utilisation_percent: int | None = None
    """Of the last second or less; None for a slice, of which the driver does not say it."""
    processes: tuple[DeviceProcess, ...] = ()
    """Those that compute on it."""
    compute_mode: str = "default"
    """"default", "exclusive" or "prohibited"."""
    fault: str = ""
    """Why it cannot be used: it fell off the bus, needs a reset. "" where nothing is known against it."""

    @property
    def usable(self) -> bool:
        """A judge can be started on it."""
        exclusive = self.compute_mode == "exclusive" and bool(self.processes)
        return not self.fault and self.compute_mode != "prohibited" and not exclusive

    @property
    def load(self) -> tuple[bool, int, int, int]:
        """Smaller is more idle: other processes, then utilisation, then memory in use."""
        return (
            bool(self.processes),
            (self.utilisation_percent or 0) // BUSY_PERCENT,
            self.used_bytes,
            self.index,
        )

    def __str__(self) -> str:
        return f"{'MIG slice of ' if self.uuid.startswith('MIG-') else ''}GPU {self.index} ({self.name})"


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """A device for one judge."""

    visible: str
    """CUDA_VISIBLE_DEVICES of the judge."""
    device: Device | None = None
    """What is known of it; None where the driver was not asked or the entry cannot be told apart."""

    def __str__(self) -> str:
        return str(self.device) if self.device is not None else f"GPU {self.visible}"


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """The devices of a session."""

    devices: tuple[Chosen, ...] = ()
    warnings: tuple[str, ...] = ()
    """One sentence each: why there are none or fewer than asked for, and who else uses them."""


def choose(
    devices: Sequence[Device],
    *,
    visible: str | None,
    count: int | None = None,
    unread: str = "",
    pci_order: bool = False,
    ours: frozenset[int] = frozenset(),
) -> Choice:
    """The devices for a session's judges.

    Args:
        devices: what the machine has.
        visible: CUDA_VISIBLE_DEVICES; None where it is not set.
        count: how many judges were asked for; None: one for each visible device, one where nothing is set.
        unread: why `devices` could not be read, a sentence; "" where they were.
        pci_order: CUDA_DEVICE_ORDER is PCI_BUS_ID, so that CUDA's numbers are NVML's.
        ours: processes of this session, which are no strangers.
    """
    if visible is not None:
        return _listed(devices, visible, count, pci_order, ours)
    if unread:
        # The first one, as CUDA itself would: that is not known to be idle, but all would be worse.
        return Choice(devices=(Chosen(visible="0"),), warnings=(f"{unread} The first GPU is taken.",))
    idle = sorted((device for device in devices if device.usable), key=lambda device: device.load)
    if not idle:
        faults = [f"{device}: {_why_not(device)}" for device in devices]
        words = f"No GPU can be used ({'; '.join(faults)})." if faults else "There is no GPU here."
        return Choice(warnings=(words,))
    wanted = count or 1
    chosen = tuple(Chosen(visible=device.uuid, device=device) for device in idle[:wanted])
    return Choice(devices=chosen, warnings=(*_fewer(wanted, len(chosen)), *strangers(chosen, ours)))


def strangers(chosen: Sequence[Chosen], ours: frozenset[int]) -> tuple[str, ...]:
    """A sentence for each device on which others compute, which names them."""
    found = []
    for one in chosen:
        others = [p for p in (one.device.processes if one.device else ()) if p.pid not in ours]
        if others:
            found.append(
                f"{one} is also used by {', '.join(map(str, others))}; what is timed beside them is less sure."
            )
    return tuple(found)


def _listed(
    devices: Sequence[Device], visible: str, count: int | None, pci_order: bool, ours: frozenset[int]
) -> Choice:
    entries = [entry.strip() for entry in visible.split(",")]
    # As CUDA does: what follows an entry that names nothing is not visible, and one named twice is an error there.
    for number, entry in enumerate(entries):
        if not entry or entry.startswith("-") or entry in entries[:number]:
            entries = entries[:number]
            break
    if not entries:
        return Choice(warnings=(f"CUDA_VISIBLE_DEVICES={visible!r} names no GPU.",))
    wanted = count or len(entries)
    chosen = tuple(
        Chosen(visible=entry, device=_find(devices, entry, pci_order)) for entry in entries[:wanted]
    )
    return Choice(devices=chosen, warnings=(*_fewer(wanted, len(chosen)), *strangers(chosen, ours)))


def _find(devices: Sequence[Device], entry: str, pci_order: bool) -> Device | None:
    """The device that CUDA takes `entry` for, as far as that is sure."""
    if entry.isdigit():
        # CUDA numbers the fastest first: only alike devices, or an order that is set, keep NVML's numbers.
        if not pci_order and len({device.name for device in devices}) > 1:
            return None
        return next((d for d in devices if d.index == int(entry) and not d.uuid.startswith("MIG-")), None)
    same = [device for device in devices if device.uuid.lower().startswith(entry.lower())]
    return same[0] if len(same) == 1 else None


def _fewer(wanted: int, found: int) -> tuple[str, ...]:
    if found >= wanted:
        return ()
    words = "there is 1, on the only GPU" if found == 1 else f"there are {found}, one on each GPU"
    return (f"{wanted} judges were asked for, and {words} that can be used.",)


def _why_not(device: Device) -> str:
    if device.fault:
        return device.fault
    if device.compute_mode == "prohibited":
        return "its compute mode forbids it"
    return f"exclusive to {', '.join(map(str, device.processes))}"
