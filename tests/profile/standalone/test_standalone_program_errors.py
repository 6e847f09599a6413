"""What the program says where the driver, a file or its command line is not as it should be, and that its idea of the
driver is NVIDIA's."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest
from standalone_world import FakeDriver, build

from workbench.core.build import Kernel, KernelParameter
from workbench.core.plan import CompileOptions
from workbench.profile.cubin import read_cubin
from workbench.profile.standalone import Address, Buffer, LaunchStep, Program, Saved, Zero, write_files
from workbench.runner.compiler.headers import OWN, find_headers

KERNEL = Kernel(
    name="halve",
    symbol="halve",
    parameters=(KernelParameter(0, 8, "pointer", "const float*"), KernelParameter(8, 8, "pointer", "float*")),
    registers=8,
    spill_bytes=0,
    stack_bytes=0,
    shared_bytes=0,
    constant_bytes=0,
)
PROGRAM = Program(
    task="halves",
    candidate="halve.cu",
    sha256="0" * 64,
    workbench="0",
    size="small",
    values={"n": 8},
    case="random",
    seed=1,
    arch="sm_90a",
    compiler="NVRTC 13.0",
    options=CompileOptions(),
    kernels=(KERNEL,),
    buffers=(
        Buffer(name="x", about="input, float32[8]", nbytes=32, file="inputs/0_x.bin"),
        Buffer(name="y", about="output, float32[8]", nbytes=32),
    ),
    steps=(
        Zero(buffer=1, line=3),
        LaunchStep(kernel="halve", grid=(1, 1, 1), block=(8, 1, 1), args=(Address(0), Address(1)), line=4),
    ),
    saved=(Saved(name="y", about="y, float32[8]", buffer=1, nbytes=32, file="outputs/0_y.bin"),),
    cubin=b"\177ELF made for a test",
    device="",
    plan="",
)


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> FakeDriver:
    made = FakeDriver(tmp_path_factory.mktemp("driver"))
    made.knows({"halve": KERNEL}, {"halve": {1}}, {"halve": set()})
    return made


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("program")
    _write(folder)
    build(folder)
    return folder


@pytest.fixture
def program(built: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(built, tmp_path / "program"))


def _write(folder: Path) -> None:
    write_files(PROGRAM, folder)
    (folder / "inputs").mkdir()
    (folder / "inputs" / "0_x.bin").write_bytes(bytes(range(32)))


@pytest.mark.parametrize(
    ("fail", "said"),
    [
        ("cuInit 999 1", "Failed: starting: cuInit answers an unknown error (999): no description."),
        (
            "cuLaunchKernelEx 719 1",
            "Failed: step 2 of 2: halve<<<1, 8, 0>>> (line 4): cuLaunchKernelEx answers CUDA_ERROR_LAUNCH_FAILED (719): "
            "unspecified launch failure.",
        ),
        # A kernel's fault shows when it is waited for, and is said of the step that it belongs to.
        (
            "cuCtxSynchronize 700 2",
            "Failed: step 2 of 2: halve<<<1, 8, 0>>> (line 4): cuCtxSynchronize answers CUDA_ERROR_ILLEGAL_ADDRESS (700): "
            "an illegal memory access.",
        ),
        (
            "cuCtxSynchronize 700 1",
            "Failed: step 1 of 2: y to zero, 32 bytes (line 3): cuCtxSynchronize answers",
        ),
        ("cuMemAlloc_v2 2 2", "Failed: allocating 32 bytes for y: cuMemAlloc answers"),
        ("cuMemcpyHtoD_v2 1 1", "Failed: copying inputs/0_x.bin to x: cuMemcpyHtoD answers"),
        (
            "cuModuleLoadData 209 1",
            "candidate.cubin is for sm_90a, this device is another. Make the program again with --arch.",
        ),
        ("cuModuleLoadData 218 1", "Failed: starting: cuModuleLoadData answers"),
    ],
)
def test_what_the_driver_refuses_is_said_with_its_step(
    fail: str, said: str, program: Path, driver: FakeDriver
) -> None:
    done, _ = driver.run(program, fail=fail)
    assert (done.returncode, done.stderr.startswith(said)) == (1, True), done.stderr
    assert not (program / "outputs").exists(), "no results of a run that failed"


def test_a_fault_in_a_later_repetition_is_said_too(program: Path, driver: FakeDriver) -> None:
    done, _ = driver.run(program, "--repeat", "5", fail="cuCtxSynchronize 700 6")
    assert done.returncode == 1 and "step 2 of 2" in done.stderr
    assert done.stdout.count("step 2 of 2") == 1, "steps are listed once"


def test_without_a_driver_it_says_what_to_do(program: Path) -> None:
    environment = {**os.environ, "LD_LIBRARY_PATH": str(program)}
    (program / "libcuda.so.1").write_bytes(b"no library")
    done = subprocess.run([program / "standalone"], capture_output=True, text=True, env=environment)
    assert done.returncode == 2
    assert (
        done.stderr.startswith("The CUDA driver cannot be opened (")
        and "NVIDIA GPU and driver" in done.stderr
    )


def test_a_driver_that_is_too_old_is_named_by_what_it_lacks(program: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    done, _ = FakeDriver(old, "WITHOUT_LAUNCH").run(program)
    assert done.returncode == 2
    assert done.stderr == "libcuda.so.1 has no cuLaunchKernelEx. Install a driver for CUDA 12 or later.\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--repeat"],
        ["--repeat", "0"],
        ["--repeat", "x"],
        ["--repeat", "3x"],
        ["--device", "-1"],
        ["--what", "1"],
        ["1"],
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_is_answered_with_the_usage(
    arguments: list[str], program: Path, driver: FakeDriver
) -> None:
    done, log = driver.run(program, *arguments)
    assert done.returncode == 2 and done.stderr.startswith("Usage: standalone") and not log


def test_inputs_that_do_not_fit_are_refused(program: Path, driver: FakeDriver) -> None:
    file = program / "inputs" / "0_x.bin"
    for data, said in (
        (bytes(31), "is shorter than x (32 bytes)"),
        (bytes(33), "is longer than x (32 bytes)"),
    ):
        file.write_bytes(data)
        done, _ = driver.run(program)
        assert done.returncode == 2 and said in done.stderr
    file.unlink()
    done, _ = driver.run(program)
    assert done.returncode == 2 and "cannot be opened. Is the folder whole?" in done.stderr


def test_another_cubin_is_loaded_where_it_is_named(program: Path, driver: FakeDriver) -> None:
    done, _ = driver.run(program, "--cubin", "candidate.debug.cubin")
    assert done.returncode == 2 and "candidate.debug.cubin cannot be opened" in done.stderr
    shutil.copy(program / "candidate.cubin", program / "candidate.debug.cubin")
    done, _ = driver.run(program, "--cubin", "candidate.debug.cubin")
    assert done.returncode == 0 and "loaded candidate.debug.cubin" in done.stdout


LAYOUT = """
#include <cuda.h>
#include <cstddef>
namespace ours {
#define CUDA_SUCCESS OURS_SUCCESS
#define CUDA_ERROR_NO_BINARY_FOR_GPU OURS_NO_BINARY
#define CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR OURS_MAJOR
#define CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR OURS_MINOR
#define CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES OURS_SHARED
#define CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED OURS_NON_PORTABLE
#define CU_LAUNCH_ATTRIBUTE_COOPERATIVE OURS_COOPERATIVE
#define CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION OURS_CLUSTER
@TYPES@
#undef CUDA_SUCCESS
#undef CUDA_ERROR_NO_BINARY_FOR_GPU
#undef CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR
#undef CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR
#undef CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
#undef CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED
#undef CU_LAUNCH_ATTRIBUTE_COOPERATIVE
#undef CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION
}
static_assert(ours::OURS_SUCCESS == CUDA_SUCCESS && ours::OURS_NO_BINARY == CUDA_ERROR_NO_BINARY_FOR_GPU);
static_assert(int(ours::OURS_MAJOR) == int(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR));
static_assert(int(ours::OURS_MINOR) == int(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR));
static_assert(int(ours::OURS_SHARED) == int(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES));
static_assert(int(ours::OURS_NON_PORTABLE) == int(CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED));
static_assert(int(ours::OURS_COOPERATIVE) == int(CU_LAUNCH_ATTRIBUTE_COOPERATIVE));
static_assert(int(ours::OURS_CLUSTER) == int(CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION));
static_assert(sizeof(ours::CUdeviceptr) == sizeof(CUdeviceptr) && sizeof(ours::CUresult) == sizeof(CUresult));
static_assert(sizeof(ours::CUlaunchAttribute) == sizeof(CUlaunchAttribute));
static_assert(offsetof(ours::CUlaunchAttribute, value) == offsetof(CUlaunchAttribute, value));
static_assert(sizeof(ours::CUlaunchConfig) == sizeof(CUlaunchConfig));
static_assert(offsetof(ours::CUlaunchConfig, grid) == offsetof(CUlaunchConfig, gridDimX));
static_assert(offsetof(ours::CUlaunchConfig, block) == offsetof(CUlaunchConfig, blockDimX));
static_assert(offsetof(ours::CUlaunchConfig, sharedMemBytes) == offsetof(CUlaunchConfig, sharedMemBytes));
static_assert(offsetof(ours::CUlaunchConfig, stream) == offsetof(CUlaunchConfig, hStream));
static_assert(offsetof(ours::CUlaunchConfig, attributes) == offsetof(CUlaunchConfig, attrs));
static_assert(offsetof(ours::CUlaunchConfig, attributeCount) == offsetof(CUlaunchConfig, numAttrs));
"""


def test_our_declarations_are_nvidias(built: Path, tmp_path: Path) -> None:
    # Ours is empty: NVRTC has what stands in NVIDIA's.
    folders = [f for f in find_headers().folders if Path(f) != OWN]
    folder = next((f for f in folders if Path(f, "cuda.h").is_file()), None)
    compiler = shutil.which("g++") or shutil.which("clang++")
    if folder is None or compiler is None:
        pytest.skip("needs cuda.h and a C++ compiler")
    text = (built / "driver.h").read_text()
    types = text.split("// --- types of cuda.h")[1].split("\n", 1)[1].split("// --- the driver")[0]
    (tmp_path / "layout.cpp").write_text("#include <cstdint>\n" + LAYOUT.replace("@TYPES@", types))
    command = [compiler, "-std=c++17", "-fsyntax-only", f"-I{folder}", str(tmp_path / "layout.cpp")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_nvcc_makes_a_debug_cubin_with_the_same_kernels(tmp_path: Path) -> None:
    if shutil.which("nvcc") is None or shutil.which("make") is None:
        pytest.skip("there is no nvcc here")
    device = (
        "template <class T, int N> __global__ void scaled(const T* x, T* y) { y[threadIdx.x] = FACTOR * x[threadIdx.x] + N; }\n"
        'extern "C" __global__ void halve(const float* x, float* y) { y[threadIdx.x] = x[threadIdx.x] / 2; }\n'
    )
    kernels = (
        KERNEL,
        _named("scaled<float, 2 + 1>", "_Z6scaledIfLi3EEvPKT_PS0_"),
        _named("scaled<long long, 4>", "_Z6scaledIxLi4EEvPKT_PS0_"),
    )
    options = CompileOptions(defines=(("FACTOR", "3"),), max_registers=64)
    write_files(msgspec.structs.replace(PROGRAM, device=device, kernels=kernels, options=options), tmp_path)
    done = subprocess.run(["make", "-s", "-C", tmp_path, "debug"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = read_cubin((tmp_path / "candidate.debug.cubin").read_bytes()).kernels
    assert {kernel.symbol for kernel in kernels} <= set(found)


def _named(name: str, symbol: str) -> Kernel:
    return msgspec.structs.replace(KERNEL, name=name, symbol=symbol)
