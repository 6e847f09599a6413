"""Calibrations on disk: one JSON file a device in the cache folder, that a person may read and delete.

A file that cannot be used is as good as none: the default margin holds, and the verdict says why.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import tempfile
from pathlib import Path

import msgspec

from workbench.core.errors import WorkbenchError
from workbench.core.folders import cache_folder
from workbench.judge.worker.timing.margin import CLASSES, Calibration, ClassCalibration, DeviceKey

FORMAT = 1
"""Raised whenever a calibration's meaning changes: the classes, the percentile, how blocks are timed."""
_MAX_BYTES = 1 << 20


class Found(msgspec.Struct, frozen=True):
    """What is stored for a device."""

    calibration: Calibration | None
    problem: str = ""
    """Why there is none, a clause: "this device was never calibrated"."""


class _Version(msgspec.Struct):
    format: int


def calibration_folder() -> Path:
    """Where calibrations are kept; not made yet."""
    return cache_folder() / "calibration"


def calibration_path(device: DeviceKey, folder: Path | None = None) -> Path:
    """The file of one device."""
    digest = hashlib.sha256(msgspec.json.encode(device)).hexdigest()[:24]
    return (folder or calibration_folder()) / f"{digest}.json"


def load_calibration(device: DeviceKey, folder: Path | None = None) -> Found:
    """The calibration stored for `device`, or why there is none; never raises for what a file holds."""
    path = calibration_path(device, folder)
    again = "run `workbench doctor --calibrate`"
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES)
    except FileNotFoundError:
        return Found(None, f"this device was never calibrated ({again})")
    except OSError as error:
        return Found(None, f"its calibration cannot be read: {error.strerror or error}")
    try:
        # The version alone first: what follows it may have changed shape.
        version = msgspec.json.decode(data, type=_Version).format
        if version != FORMAT:
            return Found(None, f"its calibration was made by another version of workbench ({again})")
        calibration = msgspec.json.decode(data, type=Calibration)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Found(None, f"its calibration is damaged ({again})")
    if calibration.device != device or not all(map(_sound, calibration.classes.items())):
        return Found(None, f"its calibration is damaged ({again})")
    return Found(calibration)


def store_calibration(calibration: Calibration, folder: Path | None = None) -> Path:
    """Write it, whole or not at all, and say where.

    Raises:
        ValueError: a class is unknown or a figure cannot be one.
        WorkbenchError: the folder cannot be written.
    """
    if calibration.format != FORMAT or not all(map(_sound, calibration.classes.items())):
        raise ValueError("not a calibration of this version")
    path = calibration_path(calibration.device, folder)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".part-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(calibration), indent=1))
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise WorkbenchError(
            f"The calibration cannot be stored in {path.parent}: {error.strerror or error}.",
            do="Make the folder writable, or set XDG_CACHE_HOME to one that is.",
        ) from None
    return path


def _sound(item: tuple[str, ClassCalibration]) -> bool:
    name, found = item
    return (
        name in CLASSES
        and found.comparisons > 0
        and math.isfinite(found.p99)
        and 0 <= found.p99 < 1
        and math.isfinite(found.typical_us)
    )
