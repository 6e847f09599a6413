// Switching stacks: save the callee-saved registers of one, load those of another. About 3 ns, against 300 ns of
// swapcontext's system call. The floating-point control words are left alone: device code changes them only inside of
// the prelude's rounding functions (wb_math.h), which do not wait; on_tick in faults.cpp, which can interrupt one, sees to
// it that the thread that goes on has its own.
#pragma once
#include <stdint.h>

extern "C" void wb_switch(void **save, void *load);

#if defined(__x86_64__) && !defined(WB_PORTABLE)
asm(R"(
    .text
    .p2align 4
    .hidden wb_switch
    .globl wb_switch
    .type wb_switch, @function
wb_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size wb_switch, .-wb_switch
)");

// A stack that starts in `entry` (which never returns) when it is switched to.
static inline void *wb_prepare(char *top, void (*entry)()) {
    uintptr_t *sp = (uintptr_t *)((uintptr_t)top & ~(uintptr_t)15);
    *--sp = 0;  // the return address of `entry`; also the alignment that the ABI wants at its first instruction
    *--sp = (uintptr_t)entry;
    for (int i = 0; i < 6; ++i) *--sp = 0;
    return sp;
}
#elif defined(__aarch64__) && !defined(WB_PORTABLE)
asm(R"(
    .text
    .p2align 4
    .hidden wb_switch
    .globl wb_switch
    .type wb_switch, %function
wb_switch:
    sub sp, sp, #160
    stp x19, x20, [sp, #0]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x19, x20, [sp, #0]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #160
    ret
    .size wb_switch, .-wb_switch
)");

static inline void *wb_prepare(char *top, void (*entry)()) {
    uintptr_t *sp = (uintptr_t *)((uintptr_t)top & ~(uintptr_t)15);
    sp -= 20;
    for (int i = 0; i < 20; ++i) sp[i] = 0;
    sp[11] = (uintptr_t)entry;  // x30
    return sp;
}
#else
// Elsewhere: makecontext for the first entry. Slow (a system call for each switch), and right.
#include <ucontext.h>
#include <stdlib.h>

extern "C" __attribute__((visibility("hidden"))) void wb_switch(void **save, void *load) {
    ucontext_t here;
    *save = &here;
    swapcontext(&here, (ucontext_t *)load);
}

static inline void *wb_prepare(char *top, void (*entry)()) {
    char *low = top - 120 * 1024;
    ucontext_t *context = (ucontext_t *)(((uintptr_t)top - sizeof(ucontext_t)) & ~(uintptr_t)63);
    getcontext(context);
    context->uc_stack.ss_sp = low;
    context->uc_stack.ss_size = (char *)context - low;
    context->uc_link = nullptr;
    makecontext(context, entry, 0);
    return context;
}
#endif
