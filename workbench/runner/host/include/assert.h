// `assert` is in the prelude. NVIDIA's own headers, which the prelude reads first, use it too.
#ifndef assert
#define assert(condition) static_cast<void>(0)
#endif
