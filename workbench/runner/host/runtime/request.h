// The shape of one request of a warp: how many sectors, wavefronts and turns the addresses of its lanes take.
#pragma once
#include <stdint.h>

namespace wb {

constexpr uint32_t kSector = 32;

struct Request {
    uint32_t lanes;
    uint64_t at[32];  // by lane
};

// The sectors that lanes touch, each once.
static inline uint32_t sectors_of(const Request &r, uint32_t skip, uint32_t bytes, uint64_t *found) {
    uint32_t count = 0;
    for (uint32_t rest = r.lanes; rest; rest &= rest - 1) {
        const uint64_t at = r.at[__builtin_ctz(rest)] + skip;
        for (uint64_t s = at / kSector; s <= (at + bytes - 1) / kSector; ++s) {
            uint32_t i = count;
            while (i && found[i - 1] != s) --i;
            if (!i && count < 64) found[count++] = s;
        }
    }
    return count;
}

// Cycles that the banks need: 8 and 16 bytes a lane go in halves and quarters of a warp, the same word to many is free.
static inline uint32_t wavefronts(const Request &r, uint32_t skip, uint32_t bytes, uint64_t *ideal) {
    const uint32_t group = bytes <= 4 ? 32 : bytes <= 8 ? 16 : 8;
    uint32_t total = 0;
    for (uint32_t first = 0; first < 32; first += group) {
        const uint32_t lanes = r.lanes & (uint32_t)(((1ull << group) - 1) << first);
        if (!lanes) continue;
        uint64_t words[64];
        uint8_t bank[32] = {};
        uint32_t count = 0, most = 1;
        for (uint32_t rest = lanes; rest; rest &= rest - 1) {
            const uint64_t at = r.at[__builtin_ctz(rest)] + skip;
            for (uint64_t word = at / 4; word <= (at + bytes - 1) / 4; ++word) {
                uint32_t i = count;
                while (i && words[i - 1] != word) --i;
                if (i || count == 64) continue;
                words[count++] = word;
                const uint32_t used = ++bank[word & 31];
                if (used > most) most = used;
            }
        }
        total += most;
        *ideal += (count + 31) / 32;
    }
    return total;
}

// Updates of one address go one after the other: the largest number of lanes at one address (buffers) or bank (shared).
static inline uint32_t contention(const Request &r, bool banks) {
    uint32_t most = 0;
    for (uint32_t rest = r.lanes; rest; rest &= rest - 1) {
        const uint64_t at = r.at[__builtin_ctz(rest)] / 4;
        uint32_t same = 0;
        for (uint32_t others = r.lanes; others; others &= others - 1) {
            const uint64_t other = r.at[__builtin_ctz(others)] / 4;
            same += banks ? (other & 31) == (at & 31) : other == at;
        }
        if (same > most) most = same;
    }
    return most;
}

}  // namespace wb
