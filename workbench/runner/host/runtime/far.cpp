#include "far.h"

#include <string.h>
#include <sys/mman.h>

#include "context.h"
#include "shadow.h"

namespace wb {

constexpr uint32_t kSamples = 64;
constexpr uint32_t kPlaces = 96;
constexpr uint32_t kTicks = 30, kTicksInAll = 50;  // of 10 ms
constexpr int64_t kWrap = 1ll << 32;

// The first access of a block's first thread at one place in the code.
struct Trace {
    uint32_t pc, buffer, bytes, how;
    int64_t offset;
};

static struct {
    bool on;
    const wb_far_buffer *buffers;
    uint32_t count, last;
    uintptr_t low, span;
    uint64_t per_block, left;  // accesses
    uint64_t block_left;
    uint64_t samples[kSamples];
    uint32_t sampled, sample, ticks, ticks_in_all;
    Trace trace[kSamples][kPlaces];
    uint32_t traced[kSamples];
} far;

bool far_on() { return far.on; }

bool far_block(uint64_t place, uint64_t *block) {
    if (place >= far.sampled) return false;
    if (!far.left) {
        state.findings->incomplete |= 16;
        return false;
    }
    *block = far.samples[place];
    far.sample = (uint32_t)place;
    far.traced[place] = 0;
    far.ticks = 0;
    far.block_left = far.per_block < far.left ? far.per_block : far.left;
    return true;
}

[[noreturn]] void far_abandon(Worker *w) {
    Block *b = w->block;
    w->in_runtime = 1;
    for (uint32_t i = 0; i < b->threads; ++i) {
        const Fiber &f = b->fibers[i];
        if (f.state != kUnstarted && f.state != kDone) give_stack(w, f.stack);
    }
    b->alive = 0;
    void *gone;
    wb_switch(&gone, w->main);
    __builtin_unreachable();
}

bool far_tick() {
    if (++far.ticks_in_all > kTicksInAll) far.left = 0;
    return ++far.ticks > kTicks || !far.left;
}

static void report(uint32_t kind, const Trace &at, const wb_dim &block, const wb_dim &thread, int64_t wanted) {
    wb_finding *f = report_finding(kind, at.pc, 0);
    if (!f) return;
    f->block[0] = block.x, f->block[1] = block.y, f->block[2] = block.z;
    f->thread[0] = thread.x, f->thread[1] = thread.y, f->thread[2] = thread.z;
    f->bytes = at.bytes, f->how = at.how;
    f->buffer = at.buffer, f->offset = at.offset;
    f->address = (uint64_t)wanted;
}

// Where the access would have been with the bits that its index lost: 2^32 elements (or vectors, or bytes) on. 0: nowhere.
static int64_t meant(const Trace &at) {
    const wb_far_buffer &b = far.buffers[at.buffer];
    const int64_t sizes[] = {(int64_t)b.itemsize, (int64_t)at.bytes, 1};
    for (int64_t size : sizes)
        if (at.offset >= -(kWrap / 2) * size && at.offset + kWrap * size + at.bytes <= (int64_t)b.nbytes) return at.offset + kWrap * size;
    return 0;
}

void far_access(Worker *w, uintptr_t address, uint32_t bytes, uint32_t how, uint32_t pc) {
    if (address - far.low >= far.span) return;  // shared memory; or astray, and the processor says so
    w->in_runtime = 1;
    if (!far.block_left || !far.left) far_abandon(w);
    far.block_left--;
    far.left--;
    state.findings->accesses++;
    const wb_far_buffer *b = &far.buffers[far.last];
    if (address - b->low >= b->high - b->low)
        for (uint32_t i = 0; i < far.count; ++i)
            if (address - far.buffers[i].low < far.buffers[i].high - far.buffers[i].low) far.last = i;
    b = &far.buffers[far.last];
    const Trace at = {pc, far.last, bytes, how, (int64_t)(address - b->start)};
    if (w->current == w->block->fibers) {
        Trace *traces = far.trace[far.sample];
        uint32_t &count = far.traced[far.sample];
        uint32_t i = 0;
        while (i < count && traces[i].pc != pc) ++i;
        if (i == count && count < kPlaces) traces[count++] = at;
    }
    if (at.offset < 0 || (uint64_t)at.offset + bytes > b->nbytes) {
        const int64_t wanted = at.offset < 0 ? meant(at) : 0;
        if (wanted) report(WB_WRAPPED, at, w->block->index, w->current->index, wanted);
        far_abandon(w);
    }
    w->in_runtime = 0;
}

static const Trace *traced(int sample, uint32_t pc, uint32_t buffer) {
    if (sample < 0) return nullptr;
    for (uint32_t i = 0; i < far.traced[sample]; ++i)
        if (far.trace[sample][i].pc == pc && far.trace[sample][i].buffer == buffer) return &far.trace[sample][i];
    return nullptr;
}

// Along one axis of the grid, the others at 0, an index that grows by the same step from block 0 to 1 to 2, and again
// from the far block's neighbour to the far block, but is off there by a multiple of 2^32.
void far_launch_end(const wb_launch *launch) {
    for (uint32_t axis = 0; axis < 3; ++axis) {
        const uint64_t x = launch->grid[0], y = launch->grid[1];
        const uint64_t step = axis == 0 ? 1 : axis == 1 ? x : x * y, extent = launch->grid[axis];
        auto at = [&](uint64_t place) {
            for (uint32_t i = 0; i < far.sampled; ++i)
                if (far.samples[i] == place * step) return (int)i;
            return -1;
        };
        const int near[3] = {at(0), at(1), at(2)};
        if (extent < 5 || near[0] < 0) continue;
        for (uint32_t i = 0; i < far.sampled; ++i) {
            if (far.samples[i] % step || far.samples[i] / step >= extent || far.samples[i] / step < 4) continue;
            const uint64_t place = far.samples[i] / step;
            const int before = at(place - 1);
            for (uint32_t k = 0; k < far.traced[near[0]]; ++k) {
                const Trace &zero = far.trace[near[0]][k];
                const Trace *one = traced(near[1], zero.pc, zero.buffer), *two = traced(near[2], zero.pc, zero.buffer);
                const Trace *last = traced(before, zero.pc, zero.buffer), *here = traced((int)i, zero.pc, zero.buffer);
                if (!one || !two || !last || !here) continue;
                const int64_t grows = one->offset - zero.offset;
                if (grows <= 0 || two->offset - one->offset != grows || here->offset - last->offset != grows) continue;
                const __int128 wanted = zero.offset + (__int128)grows * place;
                if (wanted < 0 || wanted + here->bytes > (__int128)far.buffers[zero.buffer].nbytes) continue;
                if (wanted == here->offset || (wanted - here->offset) % kWrap) continue;
                wb_dim block = {0, 0, 0};
                (axis == 0 ? block.x : axis == 1 ? block.y : block.z) = (uint32_t)place;
                report(WB_WRAPPED, *here, block, {0, 0, 0}, (int64_t)wanted);
            }
        }
    }
}

}  // namespace wb

using namespace wb;

#define WB_OFFERED extern "C" __attribute__((visibility("default")))

// Calls from now on are followed at a few blocks; no buffers: calls are whole again.
WB_OFFERED void wb_far(const wb_far_buffer *buffers, uint32_t count, uint64_t per_block, uint64_t in_all) {
    far.on = count > 0;
    far.buffers = buffers;
    far.count = count;
    far.last = 0;
    far.per_block = per_block;
    far.left = in_all;
    far.ticks_in_all = 0;
    if (!count) return;
    far.low = buffers[0].low;
    far.span = buffers[count - 1].high - far.low;
}

// The blocks of the next launch that are followed, as numbers in it.
WB_OFFERED void wb_far_blocks(const uint64_t *blocks, uint32_t count) {
    far.sampled = count < kSamples ? count : kSamples;
    memcpy(far.samples, blocks, far.sampled * sizeof *blocks);
}

// `span` bytes at `address` that repeat `period` bytes of the file; 0, or the error's number.
WB_OFFERED int wb_far_map(int file, uint64_t offset, uint64_t address, uint64_t span, uint64_t period, int writable) {
    for (uint64_t done = 0; done < span; done += period) {
        const uint64_t size = span - done < period ? span - done : period;
        void *at = mmap((void *)(address + done), size, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED | MAP_FIXED_NOREPLACE,
                        file, (off_t)offset);
        if (at != (void *)(address + done)) return 12;
    }
    return 0;
}
