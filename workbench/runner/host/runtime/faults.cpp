// A fault ends the process: the report page says what happened, to the client that maps it too.
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "far.h"
#include "machine.h"

namespace wb {

static volatile int reported;

[[noreturn]] static void leave() {
    for (;;) syscall(SYS_exit_group, 71);
}

// The first fault counts; threads that fault after it wait for the end that is under way.
static void claim() {
    if (__atomic_exchange_n(&reported, 1, __ATOMIC_ACQ_REL))
        for (;;) pause();
}

static void describe(wb_report *r, const Fiber *at) {
    Worker *w = worker_of_thread;
    if (!w || !w->block) return;
    r->block[0] = w->block->index.x, r->block[1] = w->block->index.y, r->block[2] = w->block->index.z;
    if (at) r->thread[0] = at->index.x, r->thread[1] = at->index.y, r->thread[2] = at->index.z;
    r->switches += w->switches;
}

[[noreturn]] void fault(uint32_t kind, const Fiber *at, int line, const char *format, ...) {
    Worker *w = worker_of_thread;
    if (far_on() && w && at) far_abandon(w);
    claim();
    if (w) {
        wb_report *r = w->report;
        describe(r, at);
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(r->text, sizeof r->text, format, arguments);
        va_end(arguments);
        r->line = line;
        __atomic_store_n(&r->kind, kind, __ATOMIC_RELEASE);
    }
    leave();
}

static const char *waits_for(const Fiber &f, char *buffer, size_t size) {
    switch (f.state) {
        case kWarp: snprintf(buffer, size, "%s with mask 0x%08x in line %d", name_of(f.op), f.mask, f.line); break;
        case kBarrier:
            if (f.barrier) snprintf(buffer, size, "barrier %u in line %d", f.barrier, f.line);
            else snprintf(buffer, size, "__syncthreads() in line %d", f.line);
            break;
        case kGrid: snprintf(buffer, size, "grid.sync() in line %d", f.line); break;
        case kActive: snprintf(buffer, size, "__activemask() in line %d", f.line); break;
        case kDone: snprintf(buffer, size, "nothing: it has returned"); break;
        default: snprintf(buffer, size, "nothing"); break;
    }
    return buffer;
}

// Nobody in the block can go on. Says who waits for what, alike ones together.
[[noreturn]] void deadlock(Worker *w) {
    Block *b = w->block;
    char text[2048], what[160], first_what[160];
    size_t used = 0;
    const Fiber *culprit = nullptr;
    uint32_t shown = 0;
    text[0] = 0;
    for (uint32_t i = 0; i < b->threads;) {
        const Fiber &f = b->fibers[i];
        waits_for(f, first_what, sizeof first_what);
        uint32_t end = i + 1;
        while (end < b->threads && !strcmp(waits_for(b->fibers[end], what, sizeof what), first_what)) ++end;
        if (!culprit && f.state != kDone) culprit = &f;
        if (shown++ < 8 && used < sizeof text - 256) {
            const char *verb = f.state == kDone ? "returned" : "wait for";
            if (f.state == kDone) first_what[0] = 0;
            if (end - i > 1) used += (size_t)snprintf(text + used, sizeof text - used, "%sthreads %u to %u %s%s%s", used ? "; " : "", i, end - 1, verb, first_what[0] ? " " : "", first_what);
            else used += (size_t)snprintf(text + used, sizeof text - used, "%sthread %u %s%s%s", used ? "; " : "", i, f.state == kDone ? "returned" : "waits for", first_what[0] ? " " : "", first_what);
        }
        i = end;
    }
    fault(WB_BARRIER, culprit ? culprit : &b->fibers[0], culprit ? culprit->line : 0, "no thread of the block can go on: %s%s", text,
          shown > 8 ? "; and others" : "");
}

static int library_base(dl_phdr_info *info, size_t, void *data) {
    uint64_t *pc = (uint64_t *)data;  // in: pc; out: base
    for (int i = 0; i < info->dlpi_phnum; ++i) {
        const ElfW(Phdr) &p = info->dlpi_phdr[i];
        const uintptr_t start = info->dlpi_addr + p.p_vaddr;
        if (p.p_type == PT_LOAD && (uintptr_t)&library_base >= start && (uintptr_t)&library_base < start + p.p_memsz) {
            pc[1] = info->dlpi_addr;
            pc[2] = 0;
            for (int k = 0; k < info->dlpi_phnum; ++k) {
                const ElfW(Phdr) &q = info->dlpi_phdr[k];
                const uintptr_t low = info->dlpi_addr + q.p_vaddr;
                if (q.p_type == PT_LOAD && pc[0] >= low && pc[0] < low + q.p_memsz) pc[2] = 1;
            }
            return 1;
        }
    }
    return 0;
}

static uint64_t base_of_library, end_of_library;

// Of the report's address: a thread's stack, dynamic shared memory, or neither.
static void locate(Worker *w) {
    wb_report *r = w->report;
    int64_t offset = 0;
    if (stack_holds(r->address, &offset)) {
        r->place = 1;
        r->offset = offset;
    } else if (r->address + 4096 >= (uint64_t)(uintptr_t)w->dynamic_low &&
               r->address < (uint64_t)(uintptr_t)w->dynamic_high + 4096) {
        r->place = 2;
        r->offset = (int64_t)(r->address - (uint64_t)(uintptr_t)w->dynamic_low);
    }
}

static void on_fault(int number, siginfo_t *info, void *raw) {
    Worker *w = worker_of_thread;
    if (far_on() && w && w->current) far_abandon(w);
    claim();
    if (!w) {
        signal(number, SIG_DFL);
        raise(number);
        leave();
    }
    ucontext_t *context = (ucontext_t *)raw;
    wb_report *r = w->report;
    uint64_t pc = 0, frame = 0;
    uint32_t access = 0;
#if defined(__x86_64__)
    pc = (uint64_t)context->uc_mcontext.gregs[REG_RIP];
    frame = (uint64_t)context->uc_mcontext.gregs[REG_RSP];
    if (number == SIGSEGV && context->uc_mcontext.gregs[REG_TRAPNO] == 14)
        access = context->uc_mcontext.gregs[REG_ERR] & 2 ? 2 : 1;
#elif defined(__aarch64__)
    pc = context->uc_mcontext.pc;
    frame = context->uc_mcontext.sp;
    for (char *p = (char *)context->uc_mcontext.__reserved;;) {
        uint32_t head[2];
        memcpy(head, p, 8);
        if (!head[0] || !head[1]) break;
        if (head[0] == 0x45535201) {  // ESR_MAGIC
            uint64_t esr;
            memcpy(&esr, p + 8, 8);
            access = (esr >> 6) & 1 ? 2 : 1;
        }
        p += head[1];
    }
#endif
    (void)frame;
    describe(r, w->current);
    r->signal = (uint32_t)number;
    r->address = (uint64_t)(uintptr_t)info->si_addr;
    r->access = access;
    // In a function of another library (memcpy, expf) the caller's line is what helps; its address is on the stack.
    if (pc >= base_of_library && pc < end_of_library) {
        r->pc = pc - base_of_library;
    }
#if defined(__x86_64__)
    else {
        for (int i = 0; i < 64; ++i) {
            uint64_t word = ((uint64_t *)frame)[i];
            if (word > base_of_library && word < end_of_library) {
                r->pc = word - 1 - base_of_library;
                break;
            }
        }
    }
#elif defined(__aarch64__)
    else if (context->uc_mcontext.regs[30] > base_of_library && context->uc_mcontext.regs[30] < end_of_library) {
        r->pc = context->uc_mcontext.regs[30] - 4 - base_of_library;
    }
#endif
    if (number == SIGSEGV || number == SIGBUS) locate(w);
    __atomic_store_n(&r->kind, (uint32_t)WB_SIGNAL, __ATOMIC_RELEASE);
    leave();
}

// A thread that has not waited for long may spin for a thread that has no fiber's turn yet: it gives way, here, inside
// of the handler, on its own stack; when its turn comes again it returns from the handler.
static void on_tick(int) {
    Worker *w = worker_of_thread;
#if defined(__aarch64__)
    // The interrupted thread may be rounding another way than the one that goes on. Linux starts a handler with plain
    // control words on x86, and here with those that it found; either way the return from it brings them back.
    uint64_t control;
    asm volatile("mrs %0, fpcr" : "=r"(control));
    asm volatile("msr fpcr, %0" : : "r"((uint64_t)0));
#endif
#ifdef WB_INSTRUMENTED
    if (far_on() && w && w->current && !w->in_runtime && far_tick()) far_abandon(w);
    return;  // there, spinning threads give way by themselves, and never between a callback and its access
#endif
    if (!w || w->in_runtime) return;
    w->in_runtime = 1;
    give_way(w);
    w->in_runtime = 0;
#if defined(__aarch64__)
    asm volatile("msr fpcr, %0" : : "r"(control));
#endif
}

void watch_faults() {
    uint64_t where[3] = {(uint64_t)(uintptr_t)&library_base, 0, 0};
    dl_iterate_phdr(library_base, where);
    base_of_library = where[1];
    dl_iterate_phdr(
        [](dl_phdr_info *info, size_t, void *) {
            if (info->dlpi_addr != base_of_library) return 0;
            for (int i = 0; i < info->dlpi_phnum; ++i)
                if (info->dlpi_phdr[i].p_type == PT_LOAD) {
                    const uint64_t end = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr + info->dlpi_phdr[i].p_memsz;
                    if (end > end_of_library) end_of_library = end;
                }
            return 0;
        },
        nullptr);
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    const int numbers[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP};
    for (int number : numbers) sigaction(number, &action, nullptr);
    memset(&action, 0, sizeof action);
    action.sa_handler = on_tick;
    action.sa_flags = SA_NODEFER | SA_RESTART;
    sigaction(SIGUSR1, &action, nullptr);
}

void watch_thread(Worker *) {
    const size_t size = 64 * 1024;
    char *stack = (char *)mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    stack_t alternate = {};
    alternate.ss_sp = stack;
    alternate.ss_size = size;
    sigaltstack(&alternate, nullptr);
}

}  // namespace wb

using namespace wb;

// What -fsanitize=alignment calls; its own library is not linked. A GPU stops at such an access ("misaligned address"),
// a CPU may well go on: float4 loads from rows whose length is no multiple of four would look right here.
struct Mismatch {
    const char *file;
    uint32_t line, column;
    const void *type;
    uint8_t log_alignment, kind;  // kind: 0 a load, 1 a store, 2 a reference, 3 and up a member
};

static void misaligned(const Mismatch *found, uint64_t address, void *from) {
    Worker *w = worker_of_thread;
    // Candidates may count on 16 bytes, and no load of the device asks for more.
    const uint64_t alignment = found->log_alignment < 4 ? 1u << found->log_alignment : 16;
    if (!(address & (alignment - 1)) || !w || far_on()) return;  // what memory holds in a far run is not real
    claim();
    wb_report *r = w->report;
    describe(r, w->current);
    r->signal = (uint32_t)alignment;
    r->address = address;
    r->access = found->kind == 0 ? 1 : found->kind == 1 ? 2 : 0;
    const uint64_t pc = (uint64_t)(uintptr_t)from;
    if (pc > base_of_library && pc < end_of_library) r->pc = pc - 1 - base_of_library;
    locate(w);
    __atomic_store_n(&r->kind, (uint32_t)WB_MISALIGNED, __ATOMIC_RELEASE);
    leave();
}

extern "C" WB_HIDDEN void __ubsan_handle_type_mismatch_v1(const Mismatch *found, void *address) {
    misaligned(found, (uint64_t)(uintptr_t)address, __builtin_return_address(0));
}

extern "C" WB_HIDDEN void wb_trap(const char *why, int line) {
    Worker *w = worker_of_thread;
    w->in_runtime = 1;
    fault(WB_TRAP, w->current, line, "%s", why);
}

extern "C" WB_HIDDEN int wb_printf(const char *format, ...) {
    Worker *w = worker_of_thread;
    const uint32_t before = w ? w->in_runtime : 0;
    if (w) w->in_runtime = 1;
    va_list arguments;
    va_start(arguments, format);
    const int written = vdprintf(1, format, arguments);
    va_end(arguments);
    if (w) w->in_runtime = before;
    return written;
}
