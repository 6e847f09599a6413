// Device code that knows it runs on a CPU. ATTACK says what its static constructor tries; the kernel reports what came of it.
extern "C" {
int open(const char *, int, ...);
int socket(int, int, int);
int fork(void);
long write(int, const void *, unsigned long);
int kill(int, int);
int getppid(void);
int getpid(void);
void *mmap(void *, unsigned long, int, int, int, long);
int mprotect(void *, unsigned long, int);
int execve(const char *, char *const *, char *const *);
void _exit(int);
int pthread_create(unsigned long *, const void *, void *(*)(void *), void *);
char *getenv(const char *);
int setuid(unsigned);
int dup2(int, int);
}
namespace {
volatile int outcome = 1234;
float *volatile target = nullptr;

void *meddle(void *) {
    for (;;)
        if (target) target[0] = target[0] + 1.f;
}

struct Attack {
    Attack() {
        const int which = ATTACK;
        if (which == 1) outcome = open("/etc/passwd", 0);
        if (which == 2) outcome = socket(2, 1, 0);
        if (which == 3) outcome = fork();
        if (which == 4) {
            unsigned long got = 0;
            for (;;) {
                volatile char *p = (volatile char *)mmap(nullptr, 1 << 20, 3, 0x22, -1, 0);
                if (p == (volatile char *)-1) break;
                for (int i = 0; i < 1 << 20; i += 4096) p[i] = 1;
                ++got;
            }
            outcome = (int)got;
        }
        if (which == 5) for (volatile int i = 0;; i = i + 1) {}
        if (which == 6) {  // the answer channel, wherever it is: a message of ours, then noise
            static const char done[] = "\x20\0\0\0\x83\xa4type\xa4" "done\xa7seconds\xcb\0\0\0\0\0\0\0\0\xa8launches\x01";
            for (int fd = 0; fd < 64; ++fd) {
                write(fd, done, sizeof done - 1);
                for (int i = 0; i < 100; ++i) write(fd, "\xff\xff\xff\x7fgarbage", 11);
            }
        }
        if (which == 7) outcome = kill(getppid(), 9);
        if (which == 8) _exit(0);
        if (which == 9) {
            unsigned long thread;
            outcome = pthread_create(&thread, nullptr, meddle, nullptr);
        }
        if (which == 10) outcome = getenv("WORKBENCH_TEST_SECRET") != nullptr;
        if (which == 11) {
            char *const none[] = {nullptr};
            outcome = execve("/bin/true", none, none);
        }
        if (which == 12) outcome = setuid(0);
        if (which == 14) outcome = open("/proc/self/environ", 0);
        if (which == 15) {  // no channel at all any more
            for (int fd = 3; fd < 64; ++fd) dup2(0, fd);
        }
    }
} attack;
}  // namespace

extern "C" __global__ void report(int *y) {
    y[threadIdx.x] = outcome;
}
extern "C" __global__ void leave_a_thread(float *y) {
    y[1] = 2.f;
    target = y;
}
extern "C" __global__ void unlock_input(const float *x, float *y) {
    const unsigned long page = (unsigned long)x & ~4095ul;
    y[0] = (float)mprotect((void *)page, 4096, 3);
    y[1] = x[0];
}
extern "C" __global__ void claims_to_be_done(const unsigned char *frame, int bytes, float *y) {
    for (int fd = 3; fd < 64; ++fd) write(fd, frame, bytes);
    for (;;) y[0] = y[0] + 0.f;
}
