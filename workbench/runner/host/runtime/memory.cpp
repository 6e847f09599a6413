// Stacks of fibers between guard pages, and shared memory: found, placed, and filled with noise before each block.
#include <link.h>
#include <string.h>
#include <sys/mman.h>

#include "machine.h"

extern "C" {
__thread WB_HIDDEN wb_dim wb_threadIdx, wb_blockIdx, wb_blockDim, wb_gridDim;
__thread WB_HIDDEN char *wb_dynamic;
}

namespace wb {

constexpr size_t kPage = 4096;
constexpr size_t kStack = 128 * 1024;
constexpr uint32_t kChunk = 64;
constexpr uint32_t kGuardedChunks = 20000 / kChunk;

struct Chunk {
    char *base;
    Chunk *next;
};

// Kept from launch to launch; the fault handler reads the list.
static Chunk chunk_table[2048];
static uint32_t chunk_count;
static Chunk *chunks;
static char *spare_stacks[1 << 17];
static uint32_t spare_count;
static volatile int lock;

static void acquire() {
    while (__atomic_exchange_n(&lock, 1, __ATOMIC_ACQUIRE)) {}
}
static void release() { __atomic_store_n(&lock, 0, __ATOMIC_RELEASE); }

static void add_chunk() {
    char *base = (char *)mmap(nullptr, kStack * kChunk, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) fault(WB_LAUNCH, nullptr, 0, "not enough memory for the threads' stacks");
    Chunk *chunk = &chunk_table[chunk_count++];
    *chunk = {base, chunks};
    // Each guard page costs two of the 65,530 mappings that Linux allows a process. Large cooperative launches, which
    // hold all their threads at once, go without beyond this.
    const bool guarded = chunk_count <= kGuardedChunks;
    if (!guarded && mprotect(base, kStack * kChunk, PROT_READ | PROT_WRITE))
        fault(WB_LAUNCH, nullptr, 0, "not enough memory for the threads' stacks");
    for (uint32_t i = 0; i < kChunk; ++i) {
        // The lowest page of each stack stays unmapped, so that an overflow is a fault and not another thread's data.
        if (guarded && mprotect(base + i * kStack + kPage, kStack - kPage, PROT_READ | PROT_WRITE))
            fault(WB_LAUNCH, nullptr, 0, "not enough memory mappings for the threads' stacks");
        // Stacks that start at the same offset in their pages would all fight for the same cache lines.
        spare_stacks[spare_count++] = base + (i + 1) * kStack - 64 * ((i * 7) % 48);
    }
    __atomic_store_n(&chunks, chunk, __ATOMIC_RELEASE);
}

char *take_stack(Worker *w) {
    if (w->free_count) return w->free_stacks[--w->free_count];
    acquire();
    if (!spare_count) {
        if (chunk_count == sizeof chunk_table / sizeof *chunk_table) fault(WB_LAUNCH, nullptr, 0, "too many threads for one launch on the host");
        add_chunk();
    }
    char *top = spare_stacks[--spare_count];
    release();
    return top;
}

void give_stack(Worker *w, char *top) {
    if (w->free_count < w->free_capacity) {
        w->free_stacks[w->free_count++] = top;
        return;
    }
    acquire();
    spare_stacks[spare_count++] = top;
    release();
}

bool stack_holds(uintptr_t address, int64_t *offset) {
    for (Chunk *c = __atomic_load_n(&chunks, __ATOMIC_ACQUIRE); c; c = c->next) {
        const uintptr_t base = (uintptr_t)c->base;
        if (address < base || address >= base + kStack * kChunk) continue;
        *offset = (int64_t)((address - base) % kStack) - (int64_t)kPage;
        return true;
    }
    return false;
}

static int module_callback(dl_phdr_info *info, size_t, void *data) {
    Worker *w = (Worker *)data;
    bool ours = false;
    size_t tls = 0;
    for (int i = 0; i < info->dlpi_phnum; ++i) {
        const ElfW(Phdr) &p = info->dlpi_phdr[i];
        const uintptr_t start = info->dlpi_addr + p.p_vaddr;
        if (p.p_type == PT_LOAD && (uintptr_t)&module_callback >= start && (uintptr_t)&module_callback < start + p.p_memsz)
            ours = true;
        if (p.p_type == PT_TLS) tls = p.p_memsz;
    }
    if (!ours) return 0;
    w->ranges[0] = {(char *)info->dlpi_tls_data, info->dlpi_tls_data ? tls : 0};
    w->range_count = 1;
    w->tls = w->ranges[0].start;
    w->tls_bytes = w->ranges[0].size;
    return 1;
}

static void exclude(Worker *w, void *start, size_t size) {
    char *low = (char *)start, *high = low + size;
    for (uint32_t i = 0; i < w->range_count; ++i) {
        Range r = w->ranges[i];
        if (low < r.start || low >= r.start + r.size) continue;
        w->ranges[i].size = (size_t)(low - r.start);
        if (r.start + r.size > high) w->ranges[w->range_count++] = {high, (size_t)(r.start + r.size - high)};
        return;
    }
}

// `__shared__` is `static thread_local`, and one OS thread runs one block at a time: the library's thread-local storage
// is the block's static shared memory, but for the runtime's own few words.
void find_shared_memory(Worker *w) {
    wb_threadIdx = {0, 0, 0};  // touch it, so that the storage is there
    dl_iterate_phdr(module_callback, w);
    exclude(w, &wb_threadIdx, sizeof wb_threadIdx);
    exclude(w, &wb_blockIdx, sizeof wb_blockIdx);
    exclude(w, &wb_blockDim, sizeof wb_blockDim);
    exclude(w, &wb_gridDim, sizeof wb_gridDim);
    exclude(w, &wb_dynamic, sizeof wb_dynamic);
    exclude(w, &worker_of_thread, sizeof worker_of_thread);
    if (wb_dynamic_image_size) exclude(w, wb_dynamic_image, wb_dynamic_image_size);
    w->static_bytes = 0;
    for (uint32_t i = 0; i < w->range_count; ++i) w->static_bytes += w->ranges[i].size;
}

// The block's dynamic shared memory ends at an unmapped page (as near as 16-byte alignment allows) and starts behind one.
void place_dynamic(Worker *w, uint32_t bytes) {
    const size_t rounded = (bytes + kPage - 1) & ~(kPage - 1);
    if (wb_dynamic_image_size) {
        w->dynamic_low = wb_dynamic_image;
        char *guard = (char *)(((uintptr_t)wb_dynamic_image + bytes + kPage - 1) & ~(kPage - 1));
        mprotect(guard, kPage, PROT_NONE);
        w->dynamic_region = guard;
        w->dynamic_high = guard;
    } else {
        char *region = (char *)mmap(nullptr, rounded + 2 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (region == MAP_FAILED || (rounded && mprotect(region + kPage, rounded, PROT_READ | PROT_WRITE)))
            fault(WB_LAUNCH, nullptr, 0, "not enough memory for shared memory");
        w->dynamic_region = region;
        w->dynamic_high = region + kPage + rounded;
        // Code may rely on what it asks for with __align__; 128 is what hardware gives. The rest is checked for writes.
        const size_t alignment = bytes % 128 == 0 ? 128 : bytes % 64 == 0 ? 64 : bytes % 32 == 0 ? 32 : 16;
        w->dynamic_low = (char *)(((uintptr_t)w->dynamic_high - bytes) & ~(alignment - 1));
    }
    wb_dynamic = w->dynamic_low;
}

static uint64_t tail_noise(const Worker *w) { return (uint64_t)(uintptr_t)w->dynamic_low * 0x9e3779b97f4a7c15ull ^ w->launch->seed; }

static void noise(char *to, size_t size, uint64_t state) {
    size_t i = 0;
    for (; i + 8 <= size; i += 8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        memcpy(to + i, &state, 8);
    }
    memcpy(to + i, &state, size - i);
}

void poison_shared(Worker *w, const wb_dim &block) {
    uint64_t state = w->launch->seed ^ ((uint64_t)block.x << 1) ^ ((uint64_t)block.y << 23) ^ ((uint64_t)block.z << 43);
    for (uint32_t i = 0; i < w->range_count; ++i) noise(w->ranges[i].start, w->ranges[i].size, random_next(state) | 1);
    noise(w->dynamic_low, w->launch->shared_bytes, random_next(state) | 1);
    char *end = w->dynamic_low + w->launch->shared_bytes;
    if (end < w->dynamic_high) noise(end, (size_t)(w->dynamic_high - end), tail_noise(w) | 1);
}

bool dynamic_overrun(Worker *w) {
    char *end = w->dynamic_low + w->launch->shared_bytes;
    if (end >= w->dynamic_high) return false;
    char expected[kPage];
    const size_t size = (size_t)(w->dynamic_high - end);
    noise(expected, size, tail_noise(w) | 1);
    return memcmp(expected, end, size) != 0;
}

size_t image_bytes(Worker *w) { return w->static_bytes + w->launch->shared_bytes; }

void save_image(Worker *w, char *to) {
    for (uint32_t i = 0; i < w->range_count; ++i) {
        memcpy(to, w->ranges[i].start, w->ranges[i].size);
        to += w->ranges[i].size;
    }
    memcpy(to, w->dynamic_low, w->launch->shared_bytes);
}

void restore_image(Worker *w, const char *from) {
    for (uint32_t i = 0; i < w->range_count; ++i) {
        memcpy(w->ranges[i].start, from, w->ranges[i].size);
        from += w->ranges[i].size;
    }
    memcpy(w->dynamic_low, from, w->launch->shared_bytes);
}

}  // namespace wb
