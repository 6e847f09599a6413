/* A libcuda.so.1 without a GPU: it keeps device memory on the host and writes down what it is asked.

   FAKE_CUDA_LOG     file to append to, a line for each call that matters
   FAKE_CUDA_KERNELS file with a line for each kernel: symbol, then the bytes of each parameter; "8w" is a pointer
                     through which the "kernel" writes: byte i of that memory becomes (number of the launch + i) % 251
   FAKE_CUDA_FAIL    "cuLaunchKernelEx 719 2": the second such call answers 719
   FAKE_CUDA_LOST    a function that this driver does not have is made by leaving it out with -D */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int CUresult;
struct attribute {
    int id;
    char pad[4];
    char value[64];
};
struct config {
    unsigned grid[3], block[3], shared;
    void *stream;
    struct attribute *attributes;
    unsigned count;
};

static struct {
    unsigned char *start;
    size_t bytes;
    int freed;
} memory[20000];
static int allocations, launches;
static char symbols[1000][5000];
static int kernels;

static void say(const char *format, unsigned long long a, unsigned long long b, const char *text) {
    FILE *log = fopen(getenv("FAKE_CUDA_LOG"), "a");
    fprintf(log, format, a, b, text);
    fclose(log);
}

static int fails(const char *call) {
    static int seen;
    char wanted[100];
    int code, number;
    const char *text = getenv("FAKE_CUDA_FAIL");
    if (!text || sscanf(text, "%99s %d %d", wanted, &code, &number) != 3 || strcmp(wanted, call))
        return 0;
    return ++seen == number ? code : 0;
}

#define MAYBE(call)                                                                                                    \
    do {                                                                                                               \
        int code = fails(#call);                                                                                       \
        if (code)                                                                                                      \
            return code;                                                                                               \
    } while (0)

static unsigned crc(const unsigned char *data, size_t bytes) {
    static unsigned table[256];
    if (!table[1])
        for (unsigned i = 0; i < 256; ++i) {
            unsigned c = i;
            for (int k = 0; k < 8; ++k)
                c = c & 1 ? 0xedb88320u ^ (c >> 1) : c >> 1;
            table[i] = c;
        }
    unsigned c = 0xffffffffu;
    for (size_t i = 0; i < bytes; ++i)
        c = table[(c ^ data[i]) & 0xff] ^ (c >> 8);
    return ~c;
}

static int holding(uintptr_t address, size_t bytes) {
    for (int i = 0; i < allocations; ++i) {
        uintptr_t start = (uintptr_t)memory[i].start;
        if (!memory[i].freed && address >= start && address + bytes <= start + memory[i].bytes)
            return i;
    }
    return -1;
}

CUresult cuInit(unsigned flags) {
    MAYBE(cuInit);
    return flags ? 1 : 0;
}
CUresult cuDeviceGet(int *device, int ordinal) {
    *device = ordinal;
    return ordinal ? 101 : 0;
}
CUresult cuDeviceGetName(char *name, int length, int device) {
    snprintf(name, length, "Made for a test");
    return device;
}
CUresult cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 75 ? 9 : attribute == 76 ? 0 : -1;
    return device;
}
CUresult cuDevicePrimaryCtxRetain(void **context, int device) {
    *context = &memory;
    return device;
}
CUresult cuDevicePrimaryCtxRelease_v2(int device) {
    say("end\n", 0, 0, "");
    return device;
}
CUresult cuCtxSetCurrent(void *context) { return context == &memory ? 0 : 201; }
CUresult cuCtxSynchronize(void) {
    MAYBE(cuCtxSynchronize);
    return 0;
}
CUresult cuModuleLoadData(void **module, const void *image) {
    MAYBE(cuModuleLoadData);
    if (memcmp(image, "\177ELF", 4))
        return 200;
    *module = &symbols;
    return 0;
}
CUresult cuModuleGetFunction(void **function, void *module, const char *name) {
    if (module != &symbols)
        return 400;
    strcpy(symbols[kernels], name);
    *function = symbols[kernels++];
    return 0;
}
CUresult cuFuncSetAttribute(void *function, int attribute, int value) {
    say("attribute %llu %llu %s\n", attribute, value, function);
    return 0;
}
CUresult cuMemAlloc_v2(unsigned long long *address, size_t bytes) {
    MAYBE(cuMemAlloc_v2);
    if (!bytes)
        return 1;
    memory[allocations].start = aligned_alloc(256, (bytes + 255) / 256 * 256);
    memory[allocations].bytes = bytes;
    memset(memory[allocations].start, 0xcd, bytes);
    *address = (uintptr_t)memory[allocations].start;
    say("allocate %llu %llu%s\n", allocations++, bytes, "");
    return 0;
}
CUresult cuMemFree_v2(unsigned long long address) {
    int found = holding(address, 1);
    if (found < 0)
        return 1;
    memory[found].freed = 1;
    return 0;
}
CUresult cuMemcpyHtoD_v2(unsigned long long to, const void *from, size_t bytes) {
    MAYBE(cuMemcpyHtoD_v2);
    if (holding(to, bytes) < 0)
        return 1;
    memcpy((void *)(uintptr_t)to, from, bytes);
    return 0;
}
CUresult cuMemcpyDtoH_v2(void *to, unsigned long long from, size_t bytes) {
    if (holding(from, bytes) < 0)
        return 1;
    memcpy(to, (void *)(uintptr_t)from, bytes);
    return 0;
}
CUresult cuMemsetD8Async(unsigned long long to, unsigned char value, size_t bytes, void *stream) {
    int found = holding(to, bytes);
    if (found < 0 || stream)
        return 1;
    memset((void *)(uintptr_t)to, value, bytes);
    say("set %llu %llu%s\n", found, bytes, "");
    return 0;
}
#ifndef WITHOUT_LAUNCH
CUresult cuLaunchKernelEx(const struct config *config, void *function, void **arguments, void **extra) {
    MAYBE(cuLaunchKernelEx);
    if (config->stream || extra)
        return 1;
    FILE *log = fopen(getenv("FAKE_CUDA_LOG"), "a");
    fprintf(log, "launch %s grid %u %u %u block %u %u %u shared %u", (char *)function, config->grid[0],
            config->grid[1], config->grid[2], config->block[0], config->block[1], config->block[2], config->shared);
    for (unsigned i = 0; i < config->count; ++i) {
        const unsigned *value = (const unsigned *)config->attributes[i].value;
        if (config->attributes[i].id == 4)
            fprintf(log, " cluster %u %u %u", value[0], value[1], value[2]);
        else if (config->attributes[i].id == 2)
            fprintf(log, " cooperative %u", value[0]);
        else
            fprintf(log, " unknown %d", config->attributes[i].id);
    }
    FILE *known = fopen(getenv("FAKE_CUDA_KERNELS"), "r");
    char *line = NULL;
    size_t room = 0;
    int found = 0;
    while (!found && getline(&line, &room, known) > 0) {
        char *word = strtok(line, " \n");
        if (strcmp(word, function))
            continue;
        found = 1;
        int written[64], writes = 0;
        for (int i = 0; (word = strtok(NULL, " \n")); ++i) {
            int bytes = atoi(word);
            uint64_t value = 0;
            memcpy(&value, arguments[i], bytes);
            int held = bytes == 8 ? holding(value, 1) : -1;
            if (held >= 0 && (uintptr_t)memory[held].start == value) {
                fprintf(log, " | memory %d %u", held, crc(memory[held].start, memory[held].bytes));
                if (strchr(word, 't')) /* an array of addresses */
                    for (size_t n = 0; n < memory[held].bytes / 8; ++n)
                        fprintf(log, " %d", holding(((uint64_t *)memory[held].start)[n], 1));
                if (strchr(word, 'w'))
                    written[writes++] = held;
            } else {
                fprintf(log, " | ");
                for (int b = 0; b < bytes; ++b)
                    fprintf(log, "%02x", ((unsigned char *)arguments[i])[b]);
            }
        }
        for (int w = 0; w < writes; ++w)
            for (size_t b = 0; b < memory[written[w]].bytes; ++b)
                memory[written[w]].start[b] = (launches + b) % 251;
    }
    fprintf(log, "\n");
    fclose(log);
    fclose(known);
    free(line);
    ++launches;
    return found ? 0 : 500;
}
#endif
CUresult cuGetErrorName(CUresult error, const char **text) {
    *text = error == 719 ? "CUDA_ERROR_LAUNCH_FAILED" : error == 700 ? "CUDA_ERROR_ILLEGAL_ADDRESS" : NULL;
    return *text ? 0 : 1;
}
CUresult cuGetErrorString(CUresult error, const char **text) {
    *text = error == 719 ? "unspecified launch failure" : error == 700 ? "an illegal memory access" : NULL;
    return *text ? 0 : 1;
}
