"""The margin is the device's own where it was calibrated, wide where it was not, and never below 1 %."""

from __future__ import annotations

import math
import os
import random
from pathlib import Path

import msgspec
import pytest

from workbench.core.errors import WorkbenchError
from workbench.judge.worker.timing.calibration import (
    FORMAT,
    calibration_path,
    load_calibration,
    store_calibration,
)
from workbench.judge.worker.timing.margin import (
    CLASSES,
    DEFAULT_DELTA,
    LEAST_COMPARISONS,
    LEAST_DELTA,
    Calibration,
    ClassCalibration,
    DeviceKey,
    duration_class,
    margin,
    percentile_99,
)

H200 = DeviceKey(name="NVIDIA H200", uuid="GPU-1", driver="580.95")


def calibration(**p99: float) -> Calibration:
    names = dict(zip(("short", "medium", "long", "longest"), CLASSES, strict=True))
    return Calibration(
        format=FORMAT,
        device=H200,
        made_at="2026-11-21T22:00:00Z",
        workbench="0.1.0",
        classes={names[k]: ClassCalibration(comparisons=40, p99=v, typical_us=5.0) for k, v in p99.items()},
    )


@pytest.mark.parametrize(
    ("us", "name"),
    [
        (0.0, "under 20 us"),
        (19.99, "under 20 us"),
        (20.0, "20 to 100 us"),
        (100.0, "100 us to 1 ms"),
        (1000.0, "over 1 ms"),
        (1e9, "over 1 ms"),
        (math.inf, "over 1 ms"),
    ],
)
def test_each_duration_has_its_class(us: float, name: str) -> None:
    assert duration_class(us) == name


def test_without_a_calibration_the_margin_is_wide_and_says_why() -> None:
    for name, end in CLASSES.items():
        found = margin(None, min(end, 5000) - 1, missing="its calibration is damaged")
        assert found.delta == DEFAULT_DELTA[name] > LEAST_DELTA
        assert found.source == f"the default {name}: its calibration is damaged"


def test_a_calibrated_class_gives_its_99th_percentile_but_never_below_one_percent() -> None:
    found = calibration(short=0.017, long=0.002)
    assert margin(found, 5.0).delta == 0.017
    assert margin(found, 5.0).source == "40 A/A comparisons under 20 us on this device, 2026-11-21T22:00:00Z"
    assert margin(found, 200.0).delta == LEAST_DELTA


def test_between_two_classes_the_wider_margin_holds() -> None:
    found = calibration(short=0.017, long=0.002)
    assert margin(found, 5.0, 200.0).delta == margin(found, 200.0, 5.0).delta == 0.017


def test_a_class_that_was_hardly_calibrated_takes_the_default() -> None:
    few = ClassCalibration(comparisons=LEAST_COMPARISONS - 1, p99=0.001)
    found = msgspec.structs.replace(calibration(), classes={"under 20 us": few})
    for us in (5.0, 200.0):
        assert margin(found, us).delta == DEFAULT_DELTA[duration_class(us)]
        assert "too few comparisons" in margin(found, us).source


def test_the_99th_percentile_of_few_comparisons_is_not_below_that_of_many() -> None:
    seed = 5
    print(f"seed {seed}")
    rng = random.Random(seed)
    many = percentile_99([math.exp(rng.gauss(0, 0.01)) for _ in range(20_000)])
    assert many == pytest.approx(math.expm1(0.02576), rel=0.04)
    few = [percentile_99([math.exp(rng.gauss(0, 0.01)) for _ in range(20)]) for _ in range(400)]
    assert sum(few) / len(few) > 0.95 * many


def test_one_wild_comparison_of_a_hundred_is_in_the_percentile() -> None:
    assert percentile_99([1.0] * 98 + [1.2]) == pytest.approx(0.2)
    assert percentile_99([1.0] * 999 + [1.2]) == 0.0
    assert percentile_99([1 / 1.2]) == pytest.approx(max(0.2, percentile_99([1.2])))


@pytest.mark.parametrize("ratios", [[], [1.0, math.nan], [0.0], [-1.0], [math.inf]])
def test_ratios_that_cannot_be_are_refused(ratios: list[float]) -> None:
    with pytest.raises(ValueError, match="A/A"):
        percentile_99(ratios)


def test_a_stored_calibration_is_read_again(tmp_path: Path) -> None:
    stored = calibration(short=0.017, long=0.002)
    path = store_calibration(stored, tmp_path / "new")
    assert load_calibration(H200, tmp_path / "new").calibration == stored
    assert os.listdir(path.parent) == [path.name]


def test_another_device_and_another_driver_are_not_calibrated_by_it(tmp_path: Path) -> None:
    store_calibration(calibration(short=0.017), tmp_path)
    for other in (msgspec.structs.replace(H200, uuid="GPU-2"), msgspec.structs.replace(H200, driver="590.1")):
        found = load_calibration(other, tmp_path)
        assert found.calibration is None
        assert "never calibrated" in found.problem


def test_a_file_that_was_copied_from_another_device_is_not_taken(tmp_path: Path) -> None:
    other = msgspec.structs.replace(H200, uuid="GPU-2")
    store_calibration(calibration(short=0.017), tmp_path).rename(calibration_path(other, tmp_path))
    assert "damaged" in load_calibration(other, tmp_path).problem


def test_without_a_folder_of_its_own_it_lies_in_the_cache_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert store_calibration(calibration()).parent == tmp_path / "workbench" / "calibration"
    assert load_calibration(H200).calibration == calibration()


def _written(**changes: object) -> bytes:
    whole = msgspec.to_builtins(calibration(short=0.017))
    return msgspec.json.encode({**whole, **changes})


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "damaged"),
        (b"\x00\xff\xfe", "damaged"),
        (_written()[:-20], "damaged"),
        (b"[" * 100_000, "damaged"),
        (b'{"format": 1}', "damaged"),
        (b'{"format": "1"}', "damaged"),
        (_written(format=FORMAT + 1), "another version"),
        (_written(format=0, classes="of another shape"), "another version"),
        (_written(classes={"under 20 us": {"comparisons": 40, "p99": -0.5}}), "damaged"),
        (_written(classes={"under 20 us": {"comparisons": 40, "p99": 1.5}}), "damaged"),
        (_written(classes={"under 20 us": {"comparisons": 0, "p99": 0.01}}), "damaged"),
        (_written().replace(b"0.017", b"NaN"), "damaged"),
        (_written().replace(b"0.017", b"1e999"), "damaged"),
        (_written(classes={"under 5 us": {"comparisons": 40, "p99": 0.01}}), "damaged"),
    ],
)
def test_a_file_that_cannot_be_right_leaves_the_default_and_says_so(
    tmp_path: Path, data: bytes, said: str
) -> None:
    calibration_path(H200, tmp_path).write_bytes(data)
    found = load_calibration(H200, tmp_path)
    assert found.calibration is None
    assert said in found.problem
    assert "doctor --calibrate" in found.problem


def test_a_folder_in_the_place_of_the_file_leaves_the_default(tmp_path: Path) -> None:
    calibration_path(H200, tmp_path).mkdir()
    found = load_calibration(H200, tmp_path)
    assert found.calibration is None
    assert "cannot be read" in found.problem


def test_what_could_not_be_read_again_is_not_stored(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a calibration"):
        store_calibration(calibration(short=math.nan), tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_one_sentence_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkbenchError, match=r"cannot be stored .* XDG_CACHE_HOME"):
        store_calibration(calibration(), tmp_path / "file")
