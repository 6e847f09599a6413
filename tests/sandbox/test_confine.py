"""What a confined process can and cannot do: real processes, real system calls."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from reachable import open_to_others

from workbench.sandbox import landlock, libc

pytestmark = pytest.mark.skipif(not libc.machine(), reason="the sandbox needs Linux on x86-64 or aarch64")
needs_landlock = pytest.mark.skipif(not landlock.abi(), reason="this kernel has no Landlock")
needs_compiler = pytest.mark.skipif(not shutil.which("g++"), reason="no g++ here")

PROLOGUE = """
import ctypes, errno, json, os, signal, socket, subprocess, sys, threading, time
from workbench.sandbox import Policy, confine, spawn_guard
import workbench.sandbox.landlock as landlock
results = {}
def attempt(name, f):
    try:
        f()
        results[name] = "done"
    except OSError as error:
        results[name] = errno.errorcode.get(error.errno, str(error.errno))
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    ctypes.set_errno(0)
    if libc.syscall(number, *map(ctypes.c_long, arguments)) < 0:
        raise OSError(ctypes.get_errno(), "")
"""


def confined(code: str, *, pass_fds: tuple[int, ...] = (), ends: int = 0) -> dict[str, Any]:
    """Run code that fills `results` after confining itself; what it put there."""
    script = PROLOGUE + textwrap.dedent(code) + "\nos.write(1, json.dumps(results).encode())\n"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, timeout=120, pass_fds=pass_fds, check=False
    )
    assert done.returncode == ends, done.stderr.decode()
    return json.loads(done.stdout) if done.stdout else {}


REFUSED = {"EPERM", "EACCES"}


def test_a_process_with_nothing_allowed_opens_connects_starts_and_signals_nothing() -> None:
    results = confined(
        """
        parent = os.getppid()
        confine(Policy(memory_bytes=1 << 30))
        attempt("read", lambda: open("/etc/passwd"))
        attempt("read a file of its own library", lambda: open(os.__file__))
        attempt("write", lambda: open("/tmp/escaped", "w"))
        attempt("list", lambda: os.listdir("/"))
        attempt("proc", lambda: open("/proc/self/maps"))
        attempt("socket", lambda: socket.socket())
        attempt("unix socket", lambda: socket.socket(socket.AF_UNIX))
        attempt("netlink", lambda: socket.socket(socket.AF_NETLINK))
        attempt("socketpair", lambda: socket.socketpair())
        attempt("fork", os.fork)
        attempt("exec", lambda: os.execv("/bin/true", ["true"]))
        attempt("spawn", lambda: os.posix_spawn("/bin/true", ["true"], {}))
        attempt("kill the parent", lambda: os.kill(parent, signal.SIGKILL))
        attempt("probe the parent", lambda: os.kill(parent, 0))
        attempt("kill everybody", lambda: os.kill(-1, 0))
        attempt("kill the group", lambda: os.killpg(0, 0))
        attempt("pidfd", lambda: os.pidfd_open(parent))
        attempt("memfd", lambda: os.memfd_create("x"))
        attempt("chdir", lambda: os.chdir("/"))
        attempt("setsid", os.setsid)
        attempt("nice", lambda: os.setpriority(os.PRIO_PROCESS, 0, 1))
        """
    )
    assert set(results.values()) <= REFUSED, results


DANGEROUS = {  # x86-64 number, aarch64 number
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "setns": (308, 268),
    "add_key": (248, 217),
    "keyctl": (250, 219),
    "open_by_handle_at": (304, 265),
    "openat2": (437, 437),
    "init_module": (175, 105),
    "kexec_load": (246, 104),
    "reboot": (169, 142),
    "connect": (42, 203),
    "bind": (49, 200),
    "accept4": (288, 242),
    "shmget": (29, 194),
    "mq_open": (240, 180),
    "inotify_init1": (294, 26),
    "personality": (135, 92),
    "setuid": (105, 146),
    "capset": (126, 91),
    "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138),
    "pidfd_send_signal": (424, 424),
    "pidfd_getfd": (438, 438),
    "process_madvise": (440, 440),
    "kcmp": (312, 272),
    "sched_setaffinity": (203, 122),
    "seccomp": (317, 277),
    "chmod": (90, None),
    "fchmodat": (268, 53),
    "truncate": (76, 45),
    "symlinkat": (266, 36),
    "linkat": (265, 37),
    "mknodat": (259, 33),
    "setxattr": (188, 5),
    "settimeofday": (164, 170),
    "execveat": (322, 281),
    "pkey_mprotect": (329, 288),
    "name_to_handle_at": (303, 264),
    "syslog": (103, 116),
    "swapon": (167, 224),
}


@pytest.mark.parametrize(
    "policy", ["", "loads=True,", "read=('/usr',), write=('/tmp',), execute=('/usr',), processes=True,"]
)
def test_dangerous_system_calls_are_refused_whatever_the_policy(policy: str) -> None:
    column = 0 if libc.machine() == "x86_64" else 1
    numbers = {name: pair[column] for name, pair in DANGEROUS.items() if pair[column] is not None}
    results = confined(
        f"""
        confine(Policy({policy} memory_bytes=1 << 30))
        for name, number in {numbers!r}.items():
            attempt(name, lambda: call(number, 0, 0, 0, 0, 0, 0))
        """
    )
    assert set(results.values()) == {"EPERM"}, results
    assert len(results) == len(numbers)


@pytest.mark.skipif(libc.machine() != "x86_64", reason="x32 is an x86-64 calling convention")
def test_the_other_calling_convention_kills_the_process() -> None:
    confined("confine(Policy(memory_bytes=1 << 30)); libc.syscall(0x40000000 + 39)", ends=-signal.SIGSYS)


def test_clone_makes_threads_and_no_processes() -> None:
    number = 56 if libc.machine() == "x86_64" else 220
    results = confined(
        f"""
        confine(Policy(memory_bytes=2 << 30))
        attempt("fork by clone", lambda: call({number}, int(signal.SIGCHLD), 0, 0, 0, 0))
        attempt("vfork by clone", lambda: call({number}, 0x4100 | int(signal.SIGCHLD), 0, 0, 0, 0))
        attempt("user namespace", lambda: call({number}, 0x10000000 | int(signal.SIGCHLD), 0, 0, 0, 0))
        attempt("clone3", lambda: call(435, 0, 0))
        seen = []
        threads = [threading.Thread(target=seen.append, args=(i,)) for i in range(8)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        results["threads"] = sorted(seen)
        """
    )
    assert results.pop("threads") == list(range(8))
    assert results.pop("clone3") == "ENOSYS"  # so that glibc falls back to clone, which can be checked
    assert set(results.values()) == {"EPERM"}, results


def test_ordinary_work_goes_on() -> None:
    reader, writer = os.pipe()
    results = confined(
        f"""
        writer = {writer}
        confine(Policy(memory_bytes=1 << 30))
        def work():
            os.write(writer, b"through a pipe")
            time.sleep(0.001)
            signal.signal(signal.SIGUSR1, lambda *_: results.update(signal="caught"))
            os.kill(os.getpid(), signal.SIGUSR1)
            bytearray(1 << 24)
            os.urandom(16)
            time.perf_counter()
        attempt("work", work)
        """,
        pass_fds=(writer,),
    )
    os.close(writer)
    assert os.read(reader, 100) == b"through a pipe"
    os.close(reader)
    assert results == {"work": "done", "signal": "caught"}


def test_the_calling_process_says_what_holds_it() -> None:
    results = confined(
        "e = confine(Policy(memory_bytes=1 << 30)); results.update(means=e.means, missing=e.missing)"
    )
    assert {"seccomp allowlist", "no new privileges", "rlimits"} <= set(results["means"])
    assert any("Landlock" in text for text in (*results["means"], *results["missing"]))
    assert any(
        "uid 65534" in text or "user of its own" in text for text in (*results["means"], *results["missing"])
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
def test_root_becomes_nobody_for_good() -> None:
    results = confined(
        """
        confine(Policy(memory_bytes=1 << 30))
        results.update(users=os.getresuid(), groups=os.getresgid(), more=os.getgroups())
        attempt("back", lambda: os.setuid(0))
        """
    )
    assert results == {"users": [65534] * 3, "groups": [65534] * 3, "more": [], "back": "EPERM"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can try another user")
def test_a_process_that_is_not_root_is_confined_too_and_the_evidence_names_the_difference() -> None:
    results = confined(
        """
        os.setgroups([]); os.setgid(12345); os.setuid(12345)
        e = confine(Policy(memory_bytes=1 << 30))
        results.update(missing=e.missing)
        attempt("read", lambda: open("/etc/passwd"))
        attempt("socket", socket.socket)
        attempt("fork", os.fork)
        attempt("kill", lambda: os.kill(os.getppid(), 0))
        """
    )
    assert results.pop("missing") == ["a user of its own (the judge does not run as root)"]
    assert set(results.values()) <= REFUSED, results


def test_memory_ends_at_the_limit() -> None:
    results = confined(
        """
        import resource
        confine(Policy(memory_bytes=256 << 20))
        try:
            bytearray(256 << 20)
            results["memory"] = "had"
        except MemoryError:
            results["memory"] = "refused"
        try:
            resource.setrlimit(resource.RLIMIT_AS, (1 << 40, 1 << 40))
            results["raised"] = True
        except (OSError, ValueError):
            results["raised"] = False
        """
    )
    assert results == {"memory": "refused", "raised": False}


def test_processor_time_ends_at_the_limit() -> None:
    confined("confine(Policy(memory_bytes=1 << 30, cpu_s=1))\nwhile True: pass", ends=-signal.SIGKILL)


def test_without_landlock_seccomp_refuses_every_file_and_the_evidence_says_so() -> None:
    results = confined(
        """
        landlock.abi = lambda: 0
        e = confine(Policy(memory_bytes=1 << 30))
        results["missing"] = e.missing
        attempt("read", lambda: open("/etc/passwd"))
        """
    )
    assert results["read"] == "EPERM"
    assert "Landlock: seccomp refuses to open any file instead" in results["missing"]


def test_without_landlock_a_loading_process_still_cannot_write_and_the_evidence_names_the_gap() -> None:
    results = confined(
        """
        landlock.abi = lambda: 0
        e = confine(Policy(memory_bytes=1 << 30, loads=True))
        results["missing"] = e.missing
        attempt("write", lambda: os.open("/dev/null", os.O_WRONLY))
        """
    )
    assert results["write"] == "EPERM"
    assert any("permissions" in text for text in results["missing"])


@pytest.mark.parametrize("loads", [False, True])
def test_threads_that_ran_already_are_confined_or_named(loads: bool) -> None:
    results = confined(
        f"""
        go, done = threading.Event(), threading.Event()
        def early():
            go.wait()
            attempt("socket in an early thread", lambda: socket.socket())
            attempt("file in an early thread", lambda: open("/etc/passwd"))
            done.set()
        threading.Thread(target=early).start()
        e = confine(Policy(memory_bytes=1 << 30, loads={loads}))
        go.set(); done.wait()
        results["missing"] = e.missing
        """
    )
    assert results["socket in an early thread"] == "EPERM"
    if loads and 0 < landlock.abi() < landlock.TSYNC_FROM_ABI:
        assert "Landlock on 1 threads that ran already" in results["missing"]
    else:
        assert results["file in an early thread"] in REFUSED


# --- loading a shared object, as the runner does ------------------------------------------------------------------


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shared object whose static constructor tries what a hostile candidate would."""
    if not shutil.which("g++"):
        pytest.skip("no g++ here")
    folder = tmp_path_factory.mktemp("library")
    source = folder / "hostile.cpp"
    source.write_text(
        """
        #include <fcntl.h>
        #include <sys/socket.h>
        #include <unistd.h>
        #include <cerrno>
        int opened, connected, forked;
        __attribute__((constructor)) static void begin() {
            opened = open("/etc/passwd", O_RDONLY) < 0 ? errno : 0;
            connected = socket(AF_INET, SOCK_STREAM, 0) < 0 ? errno : 0;
            int child = fork();
            if (child == 0) _exit(0);
            forked = child < 0 ? errno : 0;
        }
        extern "C" int answer(int i) { return i == 0 ? opened : i == 1 ? connected : forked; }
        """
    )
    path = folder / "hostile.so"
    subprocess.run(["g++", "-shared", "-fPIC", "-o", path, source], check=True)
    return path


@needs_landlock
def test_a_shared_object_loads_from_a_descriptor_and_its_constructor_gets_nothing(library: Path) -> None:
    fd = os.memfd_create("library")
    os.write(fd, library.read_bytes())
    try:
        results = confined(
            f"""
            confine(Policy(memory_bytes=2 << 30, loads=True))
            loaded = ctypes.CDLL("/proc/self/fd/{fd}")
            results["codes"] = [errno.errorcode[loaded.answer(i)] for i in range(3)]
            attempt("the file system", lambda: open({str(library)!r}, "rb"))
            attempt("maps", lambda: open("/proc/self/maps"))
            attempt("parent", lambda: open(f"/proc/{{os.getppid()}}/environ"))
            """,
            pass_fds=(fd,),
        )
    finally:
        os.close(fd)
    assert results.pop("codes") == ["EACCES", "EPERM", "EPERM"]
    assert set(results.values()) <= REFUSED, results


@needs_landlock
def test_a_shared_object_loads_from_the_one_file_that_is_named(library: Path) -> None:
    shutil.copy(library, library.with_name("other.so"))
    open_to_others(library.parent)
    results = confined(
        f"""
        confine(Policy(memory_bytes=2 << 30, read=({str(library)!r},)))
        loaded = ctypes.CDLL({str(library)!r})
        results["codes"] = [errno.errorcode[loaded.answer(i)] for i in range(3)]
        attempt("its neighbour", lambda: open({str(library.with_name("other.so"))!r}, "rb"))
        """
    )
    assert results == {"codes": ["EACCES", "EPERM", "EPERM"], "its neighbour": "EACCES"}


def test_read_only_memory_stays_read_only() -> None:
    memory = os.memfd_create("inputs")
    os.ftruncate(memory, 4096)
    readable = os.open(f"/proc/self/fd/{memory}", os.O_RDONLY)
    try:
        results = confined(
            f"""
            import fcntl, mmap
            fd = {readable}
            confine(Policy(memory_bytes=1 << 30, loads=True))
            attempt("map to read", lambda: mmap.mmap(fd, 4096, prot=mmap.PROT_READ))
            attempt("map to write", lambda: mmap.mmap(fd, 4096))
            attempt("open again", lambda: os.open(f"/proc/self/fd/{{fd}}", os.O_RDWR))
            attempt("truncate", lambda: os.ftruncate(fd, 0))
            attempt("seal", lambda: fcntl.fcntl(fd, 1033, 1))
            """,
            pass_fds=(readable,),
        )
    finally:
        os.close(memory)
        os.close(readable)
    assert results.pop("map to read") == "done"
    assert set(results.values()) <= REFUSED, results


def test_a_writable_memfd_cannot_grow() -> None:
    memory = os.memfd_create("outputs")
    os.ftruncate(memory, 4096)
    try:
        results = confined(
            f"""
            fd = {memory}
            confine(Policy(memory_bytes=1 << 30, loads=True))
            attempt("grow", lambda: os.ftruncate(fd, 1 << 30))
            attempt("write past its end", lambda: os.pwrite(fd, b"x", 1 << 20))
            attempt("write inside", lambda: os.pwrite(fd, b"x", 0))
            """,
            pass_fds=(memory,),
        )
    finally:
        os.close(memory)
    assert results["write inside"] in ("EFBIG", "done")
    assert results["grow"] == "EPERM"
    assert results["write past its end"] == "EFBIG"


# --- compiling, as the compiler does ------------------------------------------------------------------------------

COMPILER = """
policy = Policy(
    read=("/usr/include", "/usr/lib", "/lib", "/lib64", "/etc/ld.so.cache"),
    write=({work!r}, "/dev/null"),
    execute=("/usr/bin", "/usr/lib", "/usr/libexec", "/lib", "/lib64", "/usr/lib64"),
    processes=True, memory_bytes=4 << 30, file_bytes=64 << 20, unprivileged=False,
)
environment = {{"PATH": "/usr/bin:/bin", "TMPDIR": {work!r}}}
def compile(text):
    with open({work!r} + "/a.cpp", "w") as file:
        file.write(text)
    done = subprocess.run(["g++", "-shared", "-fPIC", "a.cpp", "-o", "a.so"], cwd={work!r}, env=environment,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return [done.returncode, done.stderr]
"""


@needs_compiler
@needs_landlock
def test_a_compiler_compiles_and_its_source_reaches_nothing_else(tmp_path: Path) -> None:
    secret = tmp_path / "secret.h"
    secret.write_text("int secret;")
    work = tmp_path / "work"
    work.mkdir()
    results = confined(
        COMPILER.format(work=str(work))
        + textwrap.dedent(
            f"""
            confine(policy)
            results["good"] = compile("#include <vector>\\nint f() {{ return std::vector<int>(3).size(); }}")
            results["secret"] = compile('#include "{secret}"')
            results["passwd"] = compile('#include "/etc/passwd"')
            results["embedded"] = compile('asm(".incbin \\\\"/etc/passwd\\\\"");')
            attempt("write outside", lambda: open("{tmp_path}/outside", "w"))
            attempt("read outside", lambda: open("{secret}"))
            attempt("chmod", lambda: os.chmod("{work}", 0o777))
            attempt("chown", lambda: os.chown("{work}", 1, 1))
            attempt("socket", socket.socket)
            attempt("parent", lambda: os.kill(os.getppid(), 0))
            """
        )
    )
    assert results.pop("good") == [0, ""]
    for name in ("secret", "passwd", "embedded"):
        code, text = results.pop(name)
        assert code != 0
        assert "ermission denied" in text or "file not found" in text, text
        assert "root:" not in text
    assert set(results.values()) <= REFUSED, results


# --- life and death -----------------------------------------------------------------------------------------------


def _gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def _wait_gone(pid: int) -> None:
    deadline = time.monotonic() + 60
    while not _gone(pid):
        assert time.monotonic() < deadline, "the child outlived its parent"
        time.sleep(0.01)


CHILD = """
import os, sys, time
from workbench.sandbox import Policy, confine, spawn_guard
spawn_guard(int(sys.argv[1]))
confine(Policy(memory_bytes=1 << 30))
os.write(1, b"confined")
time.sleep(600)
"""


def test_a_guarded_and_confined_child_dies_with_its_killed_parent() -> None:
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            textwrap.dedent(
                f"""
                import os, subprocess, sys, threading, time
                from workbench.sandbox import popen
                found = []
                def start():
                    found.append(popen([sys.executable, "-c", {CHILD!r}, str(os.getpid())], stdout=subprocess.PIPE))
                thread = threading.Thread(target=start)  # ends at once: the child must not end with it
                thread.start()
                thread.join()
                assert found[0].stdout.read(8) == b"confined"
                os.write(1, str(found[0].pid).encode() + b"\\n")
                time.sleep(600)
                """
            ),
        ],
        stdout=subprocess.PIPE,
    )
    try:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert not _gone(child)
    finally:
        parent.kill()
        parent.wait()
    _wait_gone(child)


def test_a_guard_ends_a_child_whose_parent_is_gone_already() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, "1" if os.getpid() != 1 else "2"], capture_output=True
    )
    assert done.returncode == 1
    assert done.stdout == b""
