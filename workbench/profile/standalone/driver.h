// What main.cpp needs of the CUDA driver: its functions are looked up in libcuda.so.1 when the program starts, so that it
// builds anywhere, without CUDA's headers or libraries. The types below are those of NVIDIA's cuda.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <dlfcn.h>
#include <sys/stat.h>
#include <unistd.h>

// --- types of cuda.h ------------------------------------------------------------------------------------------------

typedef int CUresult;
typedef int CUdevice;
typedef unsigned long long CUdeviceptr;
typedef struct CUctx_st *CUcontext;
typedef struct CUmod_st *CUmodule;
typedef struct CUfunc_st *CUfunction;
typedef struct CUstream_st *CUstream;

struct CUlaunchAttribute {
    int id;
    char pad[4];
    union {
        char bytes[64];
        unsigned cluster[3];
        int cooperative;
        std::uint64_t aligned;
    } value;
};

struct CUlaunchConfig {
    unsigned grid[3], block[3];  // blocks, threads
    unsigned sharedMemBytes;
    CUstream stream;
    CUlaunchAttribute *attributes;
    unsigned attributeCount;
};

enum {
    CUDA_SUCCESS = 0,
    CUDA_ERROR_NO_BINARY_FOR_GPU = 209,
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75,
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76,
    CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES = 8,
    CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED = 14,
    CU_LAUNCH_ATTRIBUTE_COOPERATIVE = 2,
    CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION = 4,
};

// --- the driver -----------------------------------------------------------------------------------------------------

// Exit codes: 1 where the driver refuses something or a kernel fails, 2 for the command line, files and a missing driver.
[[noreturn]] inline void stop(int code, const std::string &message) {
    std::fflush(stdout);
    std::fprintf(stderr, "%s\n", message.c_str());
    std::exit(code);
}

struct Driver {
    CUresult (*init)(unsigned flags);
    CUresult (*deviceGet)(CUdevice *device, int ordinal);
    CUresult (*deviceGetName)(char *name, int length, CUdevice device);
    CUresult (*deviceGetAttribute)(int *value, int attribute, CUdevice device);
    CUresult (*primaryContextRetain)(CUcontext *context, CUdevice device);
    CUresult (*primaryContextRelease)(CUdevice device);
    CUresult (*contextSetCurrent)(CUcontext context);
    CUresult (*contextSynchronize)();
    CUresult (*moduleLoadData)(CUmodule *module, const void *image);
    CUresult (*moduleGetFunction)(CUfunction *function, CUmodule module, const char *name);
    CUresult (*functionSetAttribute)(CUfunction function, int attribute, int value);
    CUresult (*memoryAllocate)(CUdeviceptr *address, std::size_t bytes);
    CUresult (*memoryFree)(CUdeviceptr address);
    CUresult (*copyToDevice)(CUdeviceptr to, const void *from, std::size_t bytes);
    CUresult (*copyToHost)(void *to, CUdeviceptr from, std::size_t bytes);
    CUresult (*setBytesAsync)(CUdeviceptr to, unsigned char value, std::size_t bytes, CUstream stream);
    CUresult (*launch)(const CUlaunchConfig *config, CUfunction function, void **arguments, void **extra);
    CUresult (*errorName)(CUresult error, const char **text);
    CUresult (*errorText)(CUresult error, const char **text);

    void open() {
        void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
        if (!library)
            stop(2, std::string("The CUDA driver cannot be opened (") + dlerror() + "). Run this on a machine with an NVIDIA GPU and driver.");
        find(library, "cuInit", init);
        find(library, "cuDeviceGet", deviceGet);
        find(library, "cuDeviceGetName", deviceGetName);
        find(library, "cuDeviceGetAttribute", deviceGetAttribute);
        find(library, "cuDevicePrimaryCtxRetain", primaryContextRetain);
        find(library, "cuDevicePrimaryCtxRelease_v2", primaryContextRelease);
        find(library, "cuCtxSetCurrent", contextSetCurrent);
        find(library, "cuCtxSynchronize", contextSynchronize);
        find(library, "cuModuleLoadData", moduleLoadData);
        find(library, "cuModuleGetFunction", moduleGetFunction);
        find(library, "cuFuncSetAttribute", functionSetAttribute);
        find(library, "cuMemAlloc_v2", memoryAllocate);
        find(library, "cuMemFree_v2", memoryFree);
        find(library, "cuMemcpyHtoD_v2", copyToDevice);
        find(library, "cuMemcpyDtoH_v2", copyToHost);
        find(library, "cuMemsetD8Async", setBytesAsync);
        find(library, "cuLaunchKernelEx", launch);
        find(library, "cuGetErrorName", errorName);
        find(library, "cuGetErrorString", errorText);
    }

  private:
    template <class Function> static void find(void *library, const char *name, Function &function) {
        function = reinterpret_cast<Function>(dlsym(library, name));
        if (!function)
            stop(2, std::string("libcuda.so.1 has no ") + name + ". Install a driver for CUDA 12 or later.");
    }
};

// --- what main.cpp calls --------------------------------------------------------------------------------------------

struct Extent {
    unsigned x, y, z;
};

struct Buffer {
    const char *name;
    CUdeviceptr address;
    std::size_t bytes;
};

struct Kernel {
    const char *name;
    CUfunction function;
};

class Gpu {
  public:
    long repeat = 1;  // --repeat

    Gpu(int argc, char **argv, const char *arch) : arch_(arch) {
        read(argc, argv);
        driver_.open();
        check("cuInit", driver_.init(0));
        check("cuDeviceGet", driver_.deviceGet(&device_, ordinal_));
        char name[256] = "";
        int major = 0, minor = 0;
        check("cuDeviceGetName", driver_.deviceGetName(name, sizeof name - 1, device_));
        check("cuDeviceGetAttribute", driver_.deviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device_));
        check("cuDeviceGetAttribute", driver_.deviceGetAttribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device_));
        std::printf("device %d: %s, compute capability %d.%d\n", ordinal_, name, major, minor);
        CUcontext context = nullptr;
        check("cuDevicePrimaryCtxRetain", driver_.primaryContextRetain(&context, device_));
        check("cuCtxSetCurrent", driver_.contextSetCurrent(context));
        const std::string cubin = contents(cubin_);
        const CUresult loaded = driver_.moduleLoadData(&module_, cubin.data());
        if (loaded == CUDA_ERROR_NO_BINARY_FOR_GPU)
            stop(1, cubin_ + " is for " + arch_ + ", this device is another. Make the program again with --arch.");
        check("cuModuleLoadData", loaded);
        std::printf("loaded %s\n", cubin_.c_str());
    }

    // A kernel of the cubin; `dynamicShared` bytes and `clusterBlocks` are the most that a launch below asks for.
    Kernel kernel(const char *name, const char *symbol, unsigned dynamicShared, unsigned clusterBlocks) {
        Kernel found{name, nullptr};
        doing_ = std::string("looking up the kernel ") + name;
        check("cuModuleGetFunction", driver_.moduleGetFunction(&found.function, module_, symbol));
        // Without it a launch gets at most 48 KiB, static and dynamic together.
        if (dynamicShared)
            check("cuFuncSetAttribute", driver_.functionSetAttribute(found.function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, static_cast<int>(dynamicShared)));
        if (clusterBlocks > 8)
            check("cuFuncSetAttribute", driver_.functionSetAttribute(found.function, CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED, 1));
        return found;
    }

    // Device memory, not set to anything, so that initcheck sees what is read before it is written.
    Buffer buffer(const char *name, std::size_t bytes) {
        Buffer made{name, 0, bytes};
        doing_ = std::string("allocating ") + std::to_string(bytes) + " bytes for " + name;
        check("cuMemAlloc", driver_.memoryAllocate(&made.address, bytes ? bytes : 1));
        allocated_.push_back(made.address);
        return made;
    }

    // Device memory that holds the addresses of other buffers, for an argument that is an array of pointers.
    Buffer addresses(const char *name, const std::vector<Buffer> &of) {
        const Buffer made = buffer(name, of.size() * sizeof(CUdeviceptr));
        std::vector<CUdeviceptr> held;
        for (const Buffer &each : of)
            held.push_back(each.address);
        check("cuMemcpyHtoD", driver_.copyToDevice(made.address, held.data(), made.bytes));
        return made;
    }

    // Copy a file into a buffer of exactly its size.
    void load(const Buffer &to, const char *file) {
        doing_ = std::string("copying ") + file + " to " + to.name;
        std::FILE *from = open(file, "rb");
        for (std::size_t done = 0; done < to.bytes;) {
            const std::size_t part = piece(to.bytes - done);
            if (std::fread(piece_.data(), 1, part, from) != part)
                stop(2, path(file) + " is shorter than " + to.name + " (" + std::to_string(to.bytes) + " bytes). Make the program again.");
            check("cuMemcpyHtoD", driver_.copyToDevice(to.address + done, piece_.data(), part));
            done += part;
        }
        if (std::fgetc(from) != EOF)
            stop(2, path(file) + " is longer than " + to.name + " (" + std::to_string(to.bytes) + " bytes). Make the program again.");
        std::fclose(from);
    }

    // Copy a buffer into a file.
    void save(const Buffer &from, std::size_t bytes, const char *file) {
        doing_ = std::string("copying ") + from.name + " to " + file;
        std::FILE *to = open(file, "wb");
        for (std::size_t done = 0; done < bytes;) {
            const std::size_t part = piece(bytes - done);
            check("cuMemcpyDtoH", driver_.copyToHost(piece_.data(), from.address + done, part));
            if (std::fwrite(piece_.data(), 1, part, to) != part)
                stop(2, path(file) + " cannot be written whole. Is the disk full?");
            done += part;
        }
        if (std::fclose(to))
            stop(2, path(file) + " cannot be written whole. Is the disk full?");
        std::printf("wrote %s (%s, %zu bytes)\n", file, from.name, bytes);
    }

    // Each step is named before it runs and waited for, so that what fails or hangs is the last one named.
    void begin(const char *step) {
        doing_ = step;
        if (repetition_ == 0)
            std::printf("%s ... ", step);
        std::fflush(stdout);
    }

    void zero(const Buffer &buffer) {
        if (buffer.bytes)
            check("cuMemsetD8Async", driver_.setBytesAsync(buffer.address, 0, buffer.bytes, nullptr));
        finish();
    }

    // `cluster` of {0, 0, 0}: no cluster of the launch's own. `grid` counts blocks in any case.
    void launch(const Kernel &kernel, Extent grid, Extent block, unsigned dynamicShared, Extent cluster, bool cooperative, void **arguments) {
        CUlaunchAttribute attributes[2];
        std::memset(attributes, 0, sizeof attributes);
        unsigned count = 0;
        if (cluster.x) {
            attributes[count].id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
            attributes[count].value.cluster[0] = cluster.x;
            attributes[count].value.cluster[1] = cluster.y;
            attributes[count++].value.cluster[2] = cluster.z;
        }
        if (cooperative) {
            attributes[count].id = CU_LAUNCH_ATTRIBUTE_COOPERATIVE;
            attributes[count++].value.cooperative = 1;
        }
        CUlaunchConfig config;
        std::memset(&config, 0, sizeof config);
        config.grid[0] = grid.x, config.grid[1] = grid.y, config.grid[2] = grid.z;
        config.block[0] = block.x, config.block[1] = block.y, config.block[2] = block.z;
        config.sharedMemBytes = dynamicShared;
        config.attributes = count ? attributes : nullptr;
        config.attributeCount = count;
        check("cuLaunchKernelEx", driver_.launch(&config, kernel.function, arguments, nullptr));
        finish();
    }

    // All steps were run once more.
    void repeated() {
        if (++repetition_ == repeat && repeat > 1)
            std::printf("all steps were run %ld times\n", repeat);
    }

    void end() {
        for (const CUdeviceptr each : allocated_)
            check("cuMemFree", driver_.memoryFree(each));
        check("cuDevicePrimaryCtxRelease", driver_.primaryContextRelease(device_));
    }

  private:
    Driver driver_{};
    const char *arch_;
    CUdevice device_ = 0;
    CUmodule module_ = nullptr;
    int ordinal_ = 0;  // --device
    long repetition_ = 0;
    std::string folder_, cubin_ = "candidate.cubin", doing_ = "starting";
    std::vector<CUdeviceptr> allocated_;
    std::vector<char> piece_;

    void read(int argc, char **argv) {
        const char *usage = "Usage: standalone [--repeat N] [--device N] [--cubin FILE]";
        char self[4096];
        const ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
        folder_ = length > 0 ? std::string(self, static_cast<std::size_t>(length)) : argv[0];
        const std::size_t slash = folder_.rfind('/');
        folder_ = slash == std::string::npos ? "." : folder_.substr(0, slash);
        for (int i = 1; i < argc; i += 2) {
            const std::string option = argv[i];
            if (i + 1 == argc)
                stop(2, usage);
            if (option == "--cubin")
                cubin_ = argv[i + 1];
            else if (option == "--repeat")
                repeat = number(argv[i + 1], 1, usage);
            else if (option == "--device")
                ordinal_ = static_cast<int>(number(argv[i + 1], 0, usage));
            else
                stop(2, usage);
        }
    }

    static long number(const char *text, long least, const char *usage) {
        char *end = nullptr;
        const long value = std::strtol(text, &end, 10);
        if (end == text || *end || value < least || value > 1000000000)
            stop(2, usage);
        return value;
    }

    // Files lie beside the program, wherever it is started from; an absolute path stays what it is.
    std::string path(const std::string &file) const { return file[0] == '/' ? file : folder_ + "/" + file; }

    std::FILE *open(const std::string &file, const char *mode) const {
        if (mode[0] == 'w') {
            const std::size_t slash = path(file).rfind('/');
            mkdir(path(file).substr(0, slash).c_str(), 0777);  // where it is there already, so much the better
        }
        std::FILE *opened = std::fopen(path(file).c_str(), mode);
        if (!opened) {
            std::string message = path(file) + " cannot be opened. ";
            stop(2, message + (mode[0] == 'w' ? "May this folder be written?" : "Is the folder whole?"));
        }
        return opened;
    }

    std::string contents(const std::string &file) const {
        std::FILE *from = open(file, "rb");
        std::string all;
        char part[65536];
        for (std::size_t count; (count = std::fread(part, 1, sizeof part, from)) > 0;)
            all.append(part, count);
        std::fclose(from);
        return all;
    }

    std::size_t piece(std::size_t left) {
        const std::size_t part = left < (64u << 20) ? left : (64u << 20);
        if (piece_.size() < part)
            piece_.resize(part);
        return part;
    }

    void finish() {
        check("cuCtxSynchronize", driver_.contextSynchronize());
        if (repetition_ == 0)
            std::printf("done\n");
    }

    void check(const char *call, CUresult result) const {
        if (result == CUDA_SUCCESS)
            return;
        const char *name = nullptr, *text = nullptr;
        driver_.errorName(result, &name);
        driver_.errorText(result, &text);
        std::printf("\n");
        stop(1, "Failed: " + doing_ + ": " + call + " answers " + (name ? name : "an unknown error") + " (" + std::to_string(result) + "): " + (text ? text : "no description") + ".");
    }
};
