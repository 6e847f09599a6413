// One launch: OS threads take blocks in ascending order (so that decoupled look-back makes progress), or, in a
// cooperative launch, each holds its share of the blocks and turns from one to the next at grid.sync().
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "far.h"
#include "hooks.h"
#include "machine.h"

namespace wb {

static struct {
    const wb_launch *launch;
    uint64_t blocks;
    uint64_t next;
    uint32_t workers, running;
    uint32_t arrived;          // cooperative: blocks at the present grid barrier
    uint32_t generation, ended;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
} job;

static Worker *workers;

static wb_dim index_of(uint64_t n) {
    const uint32_t *g = job.launch->grid;
    return {(uint32_t)(n % g[0]), (uint32_t)(n / g[0] % g[1]), (uint32_t)(n / ((uint64_t)g[0] * g[1]))};
}

static void check_shared(Worker *w) {
    if (dynamic_overrun(w))
        fault(WB_SHARED, w->current, 0, "a thread of the block wrote past the end of its %u bytes of dynamic shared memory",
              w->launch->shared_bytes);
}

static Block *new_block() {
    void *memory = mmap(nullptr, sizeof(Block), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) fault(WB_LAUNCH, nullptr, 0, "not enough memory for the blocks");
    return (Block *)memory;
}

static void independent(Worker *w, Block *b) {
    for (;;) {
        uint64_t n = __atomic_fetch_add(&job.next, 1, __ATOMIC_RELAXED);
        if (far_on() ? !far_block(n, &n) : n >= job.blocks) return;
        const wb_dim index = index_of(n);
        poison_shared(w, index);
        start_block(w, b, index);
        run_block(w, b);
        if (!far_on()) check_shared(w);
    }
}

static void cooperative(Worker *w, uint32_t number) {
    uint32_t count = 0;
    for (uint64_t n = number; n < job.blocks; n += job.workers) ++count;
    Block **mine = (Block **)calloc(count, sizeof(Block *));
    const size_t bytes = image_bytes(w);
    for (uint32_t i = 0; i < count; ++i) {
        mine[i] = new_block();
        mine[i]->saved = (char *)malloc(bytes + 1);
        const wb_dim index = index_of(number + (uint64_t)i * job.workers);
        w->block = mine[i];
        start_block(w, mine[i], index);
        poison_shared(w, index);
        save_image(w, mine[i]->saved);
    }
    uint32_t left = count;
    while (left) {
        bool moved = false;
        for (uint32_t i = 0; i < count; ++i) {
            Block *b = mine[i];
            if (!b->alive) continue;
            if (b->grid_waiting && b->grid_waiting == b->alive) {
                if (__atomic_load_n(&job.generation, __ATOMIC_ACQUIRE) == b->grid_generation) continue;
                b->grid_waiting = 0;
                for (uint32_t k = 0; k < b->threads; ++k)
                    if (b->fibers[k].state == kGrid) make_ready(b, k / 32, 1u << (k % 32));
            }
            moved = true;
            restore_image(w, b->saved);
            run_block(w, b);
            check_shared(w);
            save_image(w, b->saved);
            if (!b->alive) {
                --left;
                __atomic_fetch_add(&job.ended, 1, __ATOMIC_ACQ_REL);
            } else if (b->grid_waiting == b->alive) {
                b->grid_generation = __atomic_load_n(&job.generation, __ATOMIC_ACQUIRE);
                if (__atomic_add_fetch(&job.arrived, 1, __ATOMIC_ACQ_REL) == job.blocks) {
                    saw_grid_barrier();
                    __atomic_store_n(&job.arrived, 0, __ATOMIC_RELEASE);
                    __atomic_fetch_add(&job.generation, 1, __ATOMIC_ACQ_REL);
                }
            }
        }
        if (moved || !left) continue;
        // A grid barrier needs every block: one that has ended never comes.
        const uint32_t ended = __atomic_load_n(&job.ended, __ATOMIC_ACQUIRE);
        const uint32_t arrived = __atomic_load_n(&job.arrived, __ATOMIC_ACQUIRE);
        if (ended && arrived && ended + arrived >= job.blocks)
            for (uint32_t i = 0; i < count; ++i)
                if (mine[i]->alive && mine[i]->grid_generation == __atomic_load_n(&job.generation, __ATOMIC_ACQUIRE)) {
                    w->block = mine[i];
                    for (uint32_t k = 0; k < mine[i]->threads; ++k)
                        if (mine[i]->fibers[k].state == kGrid)
                            fault(WB_BARRIER, &mine[i]->fibers[k], mine[i]->fibers[k].line,
                                  "grid.sync() waits for ever: %u of %llu blocks have returned without it", ended,
                                  (unsigned long long)job.blocks);
                }
        usleep(50);
    }
    for (uint32_t i = 0; i < count; ++i) {
        saw_block_end(mine[i]);
        free(mine[i]->saved);
        munmap(mine[i], sizeof(Block));
    }
    free(mine);
}

static void *work(void *argument) {
    const uint32_t number = (uint32_t)(uintptr_t)argument;
    Worker *w = &workers[number];
    worker_of_thread = w;
    w->in_runtime = 1;
    watch_thread(w);
    find_shared_memory(w);
    w->random = w->launch->seed + number + 1;
    wb_blockDim = {w->launch->block[0], w->launch->block[1], w->launch->block[2]};
    wb_gridDim = {w->launch->grid[0], w->launch->grid[1], w->launch->grid[2]};
    place_dynamic(w, w->launch->shared_bytes);
    if (w->launch->cooperative) {
        Block *own = w->block;
        cooperative(w, number);
        w->block = own;  // the blocks of the cooperative launch are gone
    } else {
        if (!w->block) w->block = new_block();
        w->block->started = false;
        independent(w, w->block);
    }
    if (wb_dynamic_image_size) mprotect(w->dynamic_region, 4096, PROT_READ | PROT_WRITE);
    else munmap(w->dynamic_region, (size_t)(w->dynamic_high - w->dynamic_region) + 4096);
    stack_t alternate = {};
    sigaltstack(nullptr, &alternate);
    stack_t off = {};
    off.ss_flags = SS_DISABLE;
    sigaltstack(&off, nullptr);
    if (alternate.ss_sp) munmap(alternate.ss_sp, alternate.ss_size);
    pthread_mutex_lock(&job.mutex);
    w->finished = true;
    worker_of_thread = nullptr;
    --job.running;
    pthread_cond_broadcast(&job.changed);
    pthread_mutex_unlock(&job.mutex);
    return nullptr;
}

// Waits for all workers, and nudges those whose thread has not waited for 10 ms.
static void supervise() {
    uint64_t seen[64] = {};
    pthread_mutex_lock(&job.mutex);
    while (job.running) {
        timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 10000000;
        if (until.tv_nsec >= 1000000000) until.tv_sec++, until.tv_nsec -= 1000000000;
        pthread_cond_timedwait(&job.changed, &job.mutex, &until);
        for (uint32_t i = 0; i < job.workers; ++i) {
            Worker &w = workers[i];
            if (!w.finished && w.thread && w.switches == seen[i] && !w.in_runtime) pthread_kill((pthread_t)w.thread, SIGUSR1);
            seen[i] = w.switches;
        }
    }
    pthread_mutex_unlock(&job.mutex);
}

}  // namespace wb

using namespace wb;

extern "C" __attribute__((visibility("default"))) int wb_run(const wb_launch *launch, wb_report *report) {
    static bool ready;
    if (!ready) {
        watch_faults();
        pthread_mutex_init(&job.mutex, nullptr);
        pthread_cond_init(&job.changed, nullptr);
        ready = true;
    }
    job.launch = launch;
    saw_launch(launch, report);
    job.blocks = (uint64_t)launch->grid[0] * launch->grid[1] * launch->grid[2];
    job.next = 0;
    job.arrived = job.generation = job.ended = 0;
    uint32_t count = launch->workers < 1 ? 1 : launch->workers > 64 ? 64 : launch->workers;
    if (count > job.blocks) count = (uint32_t)job.blocks;
    job.workers = job.running = count;
    if (!workers) workers = (Worker *)calloc(64, sizeof(Worker));
    pthread_t threads[64];
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 8 << 20);
    for (uint32_t i = 0; i < count; ++i) {
        Worker &w = workers[i];
        w.launch = launch;
        w.report = report;
        w.finished = false;
        w.thread = 0;
        w.switches = 0;
        if (!w.free_stacks) {
            w.free_capacity = 2048;
            w.free_stacks = (char **)calloc(w.free_capacity, sizeof(char *));
        }
    }
    for (uint32_t i = 0; i < count; ++i) {
        if (pthread_create(&threads[i], &attributes, work, (void *)(uintptr_t)i)) {
            report->kind = WB_LAUNCH;
            strcpy(report->text, "the runner could not start a thread");
            _exit(71);
        }
        workers[i].thread = (unsigned long)threads[i];
    }
    pthread_attr_destroy(&attributes);
    supervise();
    for (uint32_t i = 0; i < count; ++i) {
        pthread_join(threads[i], nullptr);
        report->switches += workers[i].switches;
    }
    saw_launch_end();
    return 0;
}
