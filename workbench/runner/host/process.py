"""The runner process: confines itself, loads a candidate's library, maps buffers, runs steps. Never imports torch
unless a plan has library steps, never has a reference value, and is not believed.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import socket
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from workbench.core import wire
from workbench.runner.host import messages as m
from workbench.sandbox import Policy, confine, spawn_guard

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_long,
]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_FIXED_NOREPLACE = 0x100000
_MAP_FAILED = ctypes.c_void_p(-1).value


def send(channel: socket.socket, message: Any) -> None:
    """One frame."""
    channel.sendall(wire.pack(message))


def receive(channel: socket.socket, type_: Any, limit: int) -> tuple[Any, list[int]]:
    """One frame and the descriptors that came with it; (None, []) at the end."""
    head, fds, _, _ = socket.recv_fds(channel, 4, 4)
    if not head:
        return None, fds
    while len(head) < 4:
        head += channel.recv(4 - len(head))
    (length,) = struct.unpack("<I", head)
    if length > limit:
        raise wire.FrameError("frame over the limit")
    body = bytearray()
    while len(body) < length:
        piece = channel.recv(min(length - len(body), 1 << 20))
        if not piece:
            raise wire.FrameError("the stream ended inside a frame")
        body += piece
    return msgspec.msgpack.decode(bytes(body), type=type_), fds


class Runner:
    """One library and what it was given."""

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel
        self.library: ctypes.CDLL | None = None
        self.mapped: list[tuple[int, int]] = []
        self.report_map: mmap.mmap | None = None
        self.report: m.Report | None = None

    def serve(self) -> None:
        """Answer requests until the client goes away."""
        send(self.channel, m.Ready(os.getpid()))
        while True:
            request, fds = receive(self.channel, m.Request, m.MAX_CALL_BYTES)
            if request is None:
                return
            if isinstance(request, m.Load):
                answer = self.load(request, fds)
            elif isinstance(request, m.FarCall):
                answer = self.far(request, fds)
            else:
                answer = self.call(request, fds)
            send(self.channel, answer)

    def load(self, request: m.Load, fds: list[int]) -> m.Answer:
        for name in ("libm.so.6", "libstdc++.so.6", "libgcc_s.so.1", "libpthread.so.0"):
            with contextlib.suppress(
                OSError
            ):  # in the sandbox the loader can open nothing; a loaded soname is enough
                ctypes.CDLL(name, mode=os.RTLD_GLOBAL | os.RTLD_NOW)
        if request.torch:
            from workbench.runner import library

            library.prepare()
        with contextlib.suppress(OSError):  # where memory is short, the kernel should take the runner first
            Path("/proc/self/oom_score_adj").write_text("1000")
        send(self.channel, m.Confined(confine(Policy(loads=True, memory_bytes=request.memory_bytes))))
        library_fd, report_fd = fds
        self.report_map = mmap.mmap(report_fd, m.REPORT_BYTES)
        self.report = m.Report.from_buffer(self.report_map)
        os.close(report_fd)
        try:
            loaded = ctypes.CDLL(f"/proc/self/fd/{library_fd}", mode=os.RTLD_NOW)
            loaded.wb_run.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
        except (OSError, AttributeError) as error:
            return m.Failed("load", str(error)[:1000])
        os.close(library_fd)
        self.library = loaded
        return m.Loaded()

    def call(self, request: m.Call, fds: list[int]) -> m.Answer:
        if self.library is None or self.report is None:
            return m.Failed("load", "no library was loaded")
        try:
            self.map(request.mappings, fds)
        except OSError as error:
            return m.Failed("launch", f"the buffers cannot be mapped: {error.strerror}")
        finally:
            for fd in fds:
                os.close(fd)
        launches = 0
        wrote = self.watch(request)
        started = time.perf_counter()
        for number, step in enumerate(request.steps):
            if isinstance(step, m.FillStep):
                ctypes.memset(step.address, 0, step.nbytes)
                wrote(step.address, step.nbytes)
            elif isinstance(step, m.LaunchStep):
                failed = self.launch(step, number, request.workers)
                if failed:
                    return failed
                launches += 1
            else:
                from workbench.runner import library

                why = library.run(step)
                if why:
                    return m.Failed("library", why[:1000], number)
                for output in step.outputs:
                    wrote(output.address, output.nbytes)
            self.report.step = number + 1
        return m.Done(time.perf_counter() - started, launches)

    def far(self, request: m.FarCall, fds: list[int]) -> m.Answer:
        """Run a few blocks of each launch over address space that is not there, and see where they reach."""
        if self.library is None or self.report is None:
            return m.Failed("load", "no library was loaded")
        try:
            why = self.map_far(request.buffers, fds[0])
        finally:
            for fd in fds:
                os.close(fd)
        if why:
            return m.Failed("launch", why)
        told = (m.FarBufferC * max(len(request.buffers), 1))()
        for to, b in zip(told, request.buffers, strict=False):
            to.start, to.nbytes, to.low, to.high, to.itemsize = b.address, b.nbytes, b.low, b.high, b.itemsize
        self.library.wb_far.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint64, ctypes.c_uint64]
        self.library.wb_far_blocks.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
        self.library.wb_far(told, len(request.buffers), request.per_block, request.in_all)
        launches = 0
        started = time.perf_counter()
        try:
            for number, step in enumerate(request.steps):
                if isinstance(step, m.FillStep):
                    ctypes.memset(step.address, 0, step.nbytes)
                elif isinstance(step, m.LaunchStep) and step.blocks:
                    blocks = (ctypes.c_uint64 * len(step.blocks))(*step.blocks)
                    self.library.wb_far_blocks(blocks, len(step.blocks))
                    failed = self.launch(step, number, 1)
                    if failed:
                        return failed
                    launches += 1
                self.report.step = number + 1
        finally:
            self.library.wb_far(None, 0, 0, 0)
        return m.Done(time.perf_counter() - started, launches)

    def map_far(self, buffers: tuple[m.FarBuffer, ...], fd: int) -> str:
        """Address space for each buffer, instead of those of the call before; why not, or ""."""
        assert self.library is not None
        for address, span in self.mapped:
            _libc.munmap(address, span)
        self.mapped = []
        # In C: there are thousands of mappings.
        self.library.wb_far_map.argtypes = [ctypes.c_int, *[ctypes.c_uint64] * 4, ctypes.c_int]
        for b in buffers:
            span = -(-b.nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
            self.mapped.append((b.address, span))
            if self.library.wb_far_map(fd, b.file_offset, b.address, span, b.period, int(b.writable)):
                return "there is not enough address space for the buffers"
        return ""

    def watch(self, request: m.Call) -> Callable[[int, int], Any]:
        """Tell an instrumented library what it has to follow; returns what tells it of bytes that we wrote."""
        assert self.library is not None and self.report is not None
        if not request.tracked:
            return lambda address, nbytes: None
        buffers = (m.TrackedC * len(request.tracked))()
        for to, t in zip(buffers, request.tracked, strict=True):
            to.address, to.nbytes, to.low, to.high = t.address, t.nbytes, t.low, t.high
            to.writable, to.written = t.writable, t.written
        variables = (m.VariableC * max(len(request.variables), 1))()
        for variable, (offset, size, ignored) in zip(variables, request.variables, strict=False):
            variable.offset, variable.size, variable.ignored = offset, size, ignored
        self.library.wb_instrument.argtypes = [
            ctypes.c_void_p,
            ctypes.c_uint32,
            ctypes.c_void_p,
            ctypes.c_uint32,
            ctypes.c_void_p,
        ]
        self.library.wb_instrument(
            buffers, len(buffers), variables, len(request.variables), ctypes.addressof(self.report)
        )
        self.library.wb_written.argtypes = [ctypes.c_uint64, ctypes.c_uint64]
        told: Callable[[int, int], Any] = self.library.wb_written
        return told

    def map(self, mappings: tuple[m.Mapping_, ...], fds: list[int]) -> None:
        """Map each buffer where the client said, instead of those of the call before.

        Raises:
            OSError: not enough memory, or an address is taken.
        """
        for address, span in self.mapped:
            _libc.munmap(address, span)
        self.mapped = []
        for mapping in mappings:
            protection = mmap.PROT_READ | (mmap.PROT_WRITE if mapping.writable else 0)
            got = _libc.mmap(
                mapping.address,
                mapping.span,
                protection,
                mmap.MAP_SHARED | _FIXED_NOREPLACE,
                fds[1 if mapping.writable else 0],
                mapping.file_offset,
            )
            if got == _MAP_FAILED or got != mapping.address:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            self.mapped.append((mapping.address, mapping.span))

    def launch(self, step: m.LaunchStep, number: int, workers: int) -> m.Failed | None:
        assert self.library is not None and self.report is not None
        try:
            entry = getattr(self.library, step.entry)
            sizes_of = getattr(self.library, step.entry.replace("wb_entry_", "wb_sizes_"))
        except AttributeError:
            return m.Failed("launch", f"the library has no {step.entry}", number)
        sizes_of.restype = ctypes.POINTER(ctypes.c_uint32)
        sizes = sizes_of()
        count = sizes[0]
        if count != len(step.args):
            return m.Failed(
                "launch", f"the kernel takes {count} arguments, the plan gives {len(step.args)}", number
            )
        held: list[Any] = []
        pointers = (ctypes.c_void_p * max(count, 1))()
        for i, argument in enumerate(step.args):
            if isinstance(argument, bytes):
                data = argument
            else:
                array = (ctypes.c_uint64 * max(len(argument), 1))(*argument)
                held.append(array)
                data = struct.pack("<Q", ctypes.addressof(array))
            if sizes[i + 1] != len(data):
                return m.Failed(
                    "launch",
                    f"argument {i} has {len(data)} bytes, the kernel's parameter {sizes[i + 1]}",
                    number,
                )
            buffer = ctypes.create_string_buffer(data, len(data) + 16)
            held.append(buffer)
            pointers[i] = ctypes.addressof(buffer)
        launch = m.LaunchC(
            ctypes.cast(entry, ctypes.c_void_p),
            ctypes.addressof(pointers),
            step.grid,
            step.block,
            step.shared_bytes,
            int(step.cooperative),
            workers,
            number,
            step.seed,
        )
        self.library.wb_run(ctypes.byref(launch), ctypes.byref(self.report))
        return None


def main() -> None:
    """`python -m workbench.runner.host FD PARENT`: serve the client at the other end of the socket FD."""
    spawn_guard(int(sys.argv[2]))
    channel = socket.socket(fileno=int(sys.argv[1]))
    with contextlib.suppress(ConnectionError, BrokenPipeError):
        Runner(channel).serve()
