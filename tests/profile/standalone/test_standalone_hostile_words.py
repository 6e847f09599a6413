"""Names of a candidate and a task stay words in the C++, the Makefile and the README that are made of them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import msgspec
import pytest
from standalone_world import FakeDriver, build

from workbench.core.build import Kernel, KernelParameter
from workbench.core.plan import CompileOptions
from workbench.profile.standalone import (
    Address,
    Buffer,
    LaunchStep,
    Program,
    Saved,
    Scalar,
    Zero,
    write_files,
)
from workbench.profile.standalone.quoting import comment, identifier, literal, words

WORDS = [
    'quote" , 0); system("touch taken"); ("',
    'line\nint taken = system("touch taken");\n// ',
    "splice \\\n",
    "a comment that goes on \\",
    "a trigraph that goes on ??/",
    "*/ int taken = 1; /*",
    "$(touch taken) `touch taken` $$(shell touch taken) ; touch taken",
    "%s%n%999999999d",
    "\x1b[2J\x07\x00 and a null",
    "\u202eright to left \u2028 a line of Unicode \x85 another",
    "ünïcödé 核 🎉 \udcff",
    ')delimiter" R"delimiter(',
    "x" * 5000,
    "",
    "int",
    "1st",
    "__x",
    "class",
    "a b\tc",
    "../../etc/passwd",
    "-rf",
    "'; touch taken; '",
]
MARK = re.compile(r"taken")


def _program(word: str) -> Program:
    """One buffer, one fill and one launch, with `word` wherever a candidate or a task has a say."""
    kernel = Kernel(
        name=word,
        symbol="_Z6kernelPf",
        parameters=(KernelParameter(0, 8, "pointer", word), KernelParameter(8, 4, "int", word)),
        registers=8,
        spill_bytes=0,
        stack_bytes=0,
        shared_bytes=0,
        constant_bytes=0,
    )
    return Program(
        task=word,
        candidate=word,
        sha256="0" * 64,
        workbench="0",
        size=word,
        values={word: 3},
        case=word,
        seed=1,
        arch="sm_90a",
        compiler=word,
        options=CompileOptions(max_registers=32, fast_math=True),
        kernels=(kernel,),
        buffers=(
            Buffer(name=word, about=word, nbytes=16, file=f"inputs/0_{identifier(word)}.bin", restored=True),
            Buffer(name=word, about=word, nbytes=16),
        ),
        steps=(
            Zero(buffer=1),
            LaunchStep(
                kernel=word,
                grid=(1, 1, 1),
                block=(32, 1, 1),
                args=(Address(0, word), Scalar(b"\1\2\3\4", word, word)),
                line=7,
            ),
        ),
        saved=(Saved(name=word, about=word, buffer=1, nbytes=16, file=f"outputs/0_{identifier(word)}.bin"),),
        cubin=b"\177ELF made for a test",
        device="",
        plan="",
    )


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> FakeDriver:
    return FakeDriver(tmp_path_factory.mktemp("driver"))


def _write(program: Program, folder: Path) -> None:
    write_files(program, folder)
    (folder / "inputs").mkdir()
    for buffer in program.buffers:
        if buffer.file:
            (folder / buffer.file).write_bytes(bytes(buffer.nbytes))


@pytest.mark.parametrize("word", WORDS, ids=range(len(WORDS)))
def test_a_hostile_name_is_a_name_and_nothing_else(word: str, tmp_path: Path, driver: FakeDriver) -> None:
    program = _program(word)
    _write(program, tmp_path)
    # As strict as C++11 reads it, trigraphs included, which -std=c++17 leaves out.
    build(tmp_path, flags="-O0 -trigraphs -Wall -Wextra -Wno-unused-variable -Werror")
    (kernel,) = program.kernels
    driver.knows({word: kernel}, {word: set()}, {word: set()})
    done, log = driver.run(tmp_path, "--repeat", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    launches = [line for line in log if line.startswith("launch ")]
    assert len(launches) == 2 and all(line.endswith(" | 01020304") for line in launches)
    assert not (tmp_path / "taken").exists()
    assert (tmp_path / "outputs" / f"0_{identifier(word)}.bin").read_bytes() == bytes(16)


def test_nothing_of_a_candidate_is_in_the_makefile(tmp_path: Path) -> None:
    texts = set()
    for number, word in enumerate(WORDS):
        folder = tmp_path / str(number)
        folder.mkdir()
        _write(_program(word), folder)
        texts.add((folder / "Makefile").read_text())
        assert not MARK.search((folder / "Makefile").read_text())
    (text,) = texts
    assert "-maxrregcount=32" in text and "--use_fast_math" in text
    asked = subprocess.run(["make", "-n", "-C", str(tmp_path / "0"), "debug"], capture_output=True, text=True)
    assert "nvcc -G -cubin -arch=sm_90a" in asked.stdout


def test_what_is_shown_of_a_name_drives_no_terminal(tmp_path: Path) -> None:
    for number, word in enumerate(WORDS):
        folder = tmp_path / str(number)
        folder.mkdir()
        _write(_program(word), folder)
        for name in ("README.txt", "main.cpp", "for_nvcc.cu"):
            text = (folder / name).read_text()
            assert all(c == "\n" or " " <= c <= "~" for c in text), name
        assert msgspec.json.decode((folder / "standalone.json").read_bytes())["workbench_standalone"] == 1


def test_a_symbol_or_an_architecture_that_no_compiler_makes_is_refused(tmp_path: Path) -> None:
    good = _program("kernel")
    for symbol in ("a b", "a'b", "", "x\n", "$(touch taken)", "ü"):
        kernel = msgspec.structs.replace(good.kernels[0], symbol=symbol)
        with pytest.raises(ValueError, match="no symbol"):
            write_files(msgspec.structs.replace(good, kernels=(kernel,)), tmp_path)
    with pytest.raises(ValueError, match="not an architecture"):
        write_files(msgspec.structs.replace(good, arch="sm_90a; touch taken"), tmp_path)


@pytest.mark.parametrize("word", WORDS, ids=range(len(WORDS)))
def test_quoted_text_ends_where_it_seems_to(word: str) -> None:
    assert "\n" not in comment(word) and not comment(word).rstrip().endswith(("\\", "??/"))
    body = literal(word)[1:-1]
    assert not re.search(r'"|\?|\\(?![0-7]{3})', body)
    assert re.fullmatch(r"\w{1,40}", identifier(word), re.ASCII)
    assert len(words(word)) <= 160


def test_a_literal_holds_exactly_the_bytes(tmp_path: Path) -> None:
    # A null ends a C string, so it is left out here; `words` never lets one through.
    texts = [word.replace("\x00", "0") for word in WORDS]
    lines = "\n".join(f'    std::printf("%s%c", {literal(text)}, 0);' for text in texts)
    (tmp_path / "main.cpp").write_text(f"#include <cstdio>\nint main() {{\n{lines}\n}}\n")
    (tmp_path / "driver.h").write_text("")
    (tmp_path / "Makefile").write_text("standalone: main.cpp\n\t$(CXX) $(CXXFLAGS) -o $@ main.cpp\n")
    build(tmp_path, flags="-trigraphs")
    printed = subprocess.run([tmp_path / "standalone"], capture_output=True, check=True).stdout
    assert printed.split(b"\0")[:-1] == [text.encode(errors="backslashreplace") for text in texts]
