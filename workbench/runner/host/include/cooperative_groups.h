// The part of cooperative groups that the host target runs: blocks, tiles, coalesced lanes and the grid.
#pragma once

namespace cooperative_groups {

struct thread_group {
    unsigned long long size() const { return size_; }
    unsigned long long num_threads() const { return size_; }
    unsigned long long thread_rank() const { return rank_; }
    void sync(WB_LINE) const {
        if (kind_ == 0) wb_barrier(0, 0, 0, 0, wb_line, true);
        else if (kind_ == 1) wb_warp(wb::kSync, mask_, 0, 0, wb_line);
        else wb_grid_sync(wb_line);
    }
    unsigned kind_, mask_;
    unsigned long long size_, rank_;
};

inline unsigned wb_linear() { return threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z); }
inline unsigned wb_block_size() { return blockDim.x * blockDim.y * blockDim.z; }

class thread_block : public thread_group {
  public:
    thread_block() : thread_group{0, 0, wb_block_size(), wb_linear()} {}
    static void sync(WB_LINE) { wb_barrier(0, 0, 0, 0, wb_line, true); }
    static unsigned thread_rank() { return wb_linear(); }
    static unsigned size() { return wb_block_size(); }
    static unsigned num_threads() { return wb_block_size(); }
    static dim3 group_index() { return dim3(blockIdx.x, blockIdx.y, blockIdx.z); }
    static dim3 thread_index() { return dim3(threadIdx.x, threadIdx.y, threadIdx.z); }
    static dim3 group_dim() { return dim3(blockDim.x, blockDim.y, blockDim.z); }
    static dim3 dim_threads() { return group_dim(); }
    struct arrival_token {};
};
inline thread_block this_thread_block() { return thread_block(); }

class grid_group : public thread_group {
  public:
    grid_group()
        : thread_group{2, 0, (unsigned long long)wb_block_size() * gridDim.x * gridDim.y * gridDim.z,
                       (unsigned long long)wb_block_size() * (blockIdx.x + (unsigned long long)gridDim.x * (blockIdx.y + (unsigned long long)gridDim.y * blockIdx.z)) + wb_linear()} {}
    static void sync(WB_LINE) { wb_grid_sync(wb_line); }
    static bool is_valid() { return true; }
    static unsigned long long num_blocks() { return (unsigned long long)gridDim.x * gridDim.y * gridDim.z; }
    static unsigned long long block_rank() { return blockIdx.x + (unsigned long long)gridDim.x * (blockIdx.y + (unsigned long long)gridDim.y * blockIdx.z); }
    static dim3 group_dim() { return dim3(gridDim.x, gridDim.y, gridDim.z); }
    static dim3 dim_blocks() { return group_dim(); }
    static dim3 block_index() { return dim3(blockIdx.x, blockIdx.y, blockIdx.z); }
};
inline grid_group this_grid() { return grid_group(); }

// What tiles and coalesced groups share: lanes of one warp, named by a mask. A rank in the group is turned into a lane.
struct wb_lanes {
    unsigned mask;
    unsigned lane() const { return wb_linear() & 31; }
    unsigned rank() const { return (unsigned)__builtin_popcount(mask & ((1u << lane()) - 1)); }
    unsigned count() const { return (unsigned)__builtin_popcount(mask); }
    unsigned lane_of(unsigned rank) const {
        unsigned rest = mask;
        while (rank--) rest &= rest - 1;
        return rest ? (unsigned)__builtin_ctz(rest) : lane();
    }
    // Bits of lanes to bits of ranks.
    unsigned pack(unsigned lanes) const {
        unsigned result = 0, bit = 0;
        for (unsigned rest = mask; rest; rest &= rest - 1, ++bit) result |= (lanes >> __builtin_ctz(rest) & 1) << bit;
        return result;
    }
    template <class T>
    T get(T value, unsigned rank, int line) const {
        constexpr unsigned long words = (sizeof(T) + 7) / 8;
        uint64_t in[words] = {}, out[words];
        __builtin_memcpy(in, &value, sizeof(T));
        for (unsigned long i = 0; i < words; ++i)
            out[i] = wb_warp(wb::kShuffle, mask, in[i], lane_of(rank) | 32u << 16, line);
        T result;
        __builtin_memcpy(&result, out, sizeof(T));
        return result;
    }
};

template <unsigned Size, class Parent = void>
class thread_block_tile : public thread_group {
    static_assert(Size && Size <= 32 && (Size & (Size - 1)) == 0, "tiles of 1 to 32 threads; larger ones need cuda");

  public:
    thread_block_tile() : thread_group{1, own_mask(), Size, wb_linear() % Size} {}
    template <class Other>
    thread_block_tile(const thread_block_tile<Size, Other> &) : thread_block_tile() {}
    static unsigned own_mask() { return Size == 32 ? 0xffffffffu : ((1u << (Size & 31)) - 1) << ((wb_linear() & 31) / Size * Size); }
    static wb_lanes lanes() { return {own_mask()}; }
    static constexpr unsigned size() { return Size; }
    static constexpr unsigned num_threads() { return Size; }
    static unsigned thread_rank() { return wb_linear() % Size; }
    static unsigned meta_group_rank() { return wb_linear() / Size; }
    static unsigned meta_group_size() { return (wb_block_size() + Size - 1) / Size; }
    static void sync(WB_LINE) { wb_warp(wb::kSync, own_mask(), 0, 0, wb_line); }
    template <class T>
    T shfl(T v, unsigned rank, WB_LINE) const { return lanes().get(v, rank % Size, wb_line); }
    template <class T>
    T shfl_up(T v, unsigned delta, WB_LINE) const { return lanes().get(v, thread_rank() < delta ? thread_rank() : thread_rank() - delta, wb_line); }
    template <class T>
    T shfl_down(T v, unsigned delta, WB_LINE) const { return lanes().get(v, thread_rank() + delta >= Size ? thread_rank() : thread_rank() + delta, wb_line); }
    template <class T>
    T shfl_xor(T v, unsigned mask, WB_LINE) const { return lanes().get(v, (thread_rank() ^ mask) % Size, wb_line); }
    unsigned ballot(int predicate, WB_LINE) const { return lanes().pack((unsigned)wb_warp(wb::kBallot, own_mask(), predicate != 0, 0, wb_line)); }
    int any(int predicate, WB_LINE) const { return (unsigned)wb_warp(wb::kBallot, own_mask(), predicate != 0, 0, wb_line) != 0; }
    int all(int predicate, WB_LINE) const {
        const uint64_t votes = wb_warp(wb::kBallot, own_mask(), predicate != 0, 0, wb_line);
        return (unsigned)votes == (unsigned)(votes >> 32);
    }
    template <class T>
    unsigned match_any(T v, WB_LINE) const { return lanes().pack((unsigned)wb_warp(wb::kMatchAny, own_mask(), wb::to_word(v), 0, wb_line)); }
    template <class T>
    unsigned match_all(T v, int &predicate, WB_LINE) const {
        const unsigned same = (unsigned)wb_warp(wb::kMatchAll, own_mask(), wb::to_word(v), 0, wb_line);
        predicate = same != 0;
        return lanes().pack(same);
    }
};

class coalesced_group : public thread_group {
  public:
    explicit coalesced_group(unsigned mask) : thread_group{1, mask, wb_lanes{mask}.count(), wb_lanes{mask}.rank()} {}
    wb_lanes lanes() const { return {mask_}; }
    unsigned size() const { return (unsigned)size_; }
    unsigned num_threads() const { return (unsigned)size_; }
    unsigned thread_rank() const { return (unsigned)rank_; }
    unsigned meta_group_rank() const { return 0; }
    unsigned meta_group_size() const { return 1; }
    template <class T>
    T shfl(T v, unsigned rank, WB_LINE) const { return lanes().get(v, rank % size(), wb_line); }
    template <class T>
    T shfl_up(T v, unsigned delta, WB_LINE) const { return lanes().get(v, thread_rank() < delta ? thread_rank() : thread_rank() - delta, wb_line); }
    template <class T>
    T shfl_down(T v, unsigned delta, WB_LINE) const { return lanes().get(v, thread_rank() + delta >= size() ? thread_rank() : thread_rank() + delta, wb_line); }
    unsigned ballot(int predicate, WB_LINE) const { return lanes().pack((unsigned)wb_warp(wb::kBallot, mask_, predicate != 0, 0, wb_line)); }
    int any(int predicate, WB_LINE) const { return (unsigned)wb_warp(wb::kBallot, mask_, predicate != 0, 0, wb_line) != 0; }
    int all(int predicate, WB_LINE) const {
        const uint64_t votes = wb_warp(wb::kBallot, mask_, predicate != 0, 0, wb_line);
        return (unsigned)votes == (unsigned)(votes >> 32);
    }
};
inline __attribute__((always_inline)) coalesced_group coalesced_threads(WB_LINE) { return coalesced_group(wb_activemask(wb_line)); }

template <unsigned Size, class Group>
inline thread_block_tile<Size, Group> tiled_partition(const Group &) {
    return thread_block_tile<Size, Group>();
}
inline thread_group tiled_partition(const thread_group &, unsigned size) {
    const unsigned first = (wb_linear() & 31) / size * size;
    return thread_group{1, size == 32 ? 0xffffffffu : ((1u << size) - 1) << first, size, wb_linear() % size};
}
template <class Group>
inline coalesced_group binary_partition(const Group &g, bool predicate, WB_LINE) {
    const unsigned mask = g.lanes().mask;
    const unsigned yes = (unsigned)wb_warp(wb::kBallot, mask, predicate, 0, wb_line);
    return coalesced_group(predicate ? yes : mask & ~yes);
}
template <class Group, class T>
inline coalesced_group labeled_partition(const Group &g, T label, WB_LINE) {
    return coalesced_group((unsigned)wb_warp(wb::kMatchAny, g.lanes().mask, wb::to_word(label), 0, wb_line));
}

template <class Group>
inline void sync(const Group &g, WB_LINE) { g.sync(wb_line); }

template <class T>
struct plus {
    T operator()(T a, T b) const { return a + b; }
};
template <class T>
struct less {
    T operator()(T a, T b) const { return b < a ? b : a; }
};
template <class T>
struct greater {
    T operator()(T a, T b) const { return a < b ? b : a; }
};
template <class T>
struct bit_and {
    T operator()(T a, T b) const { return a & b; }
};
template <class T>
struct bit_or {
    T operator()(T a, T b) const { return a | b; }
};
template <class T>
struct bit_xor {
    T operator()(T a, T b) const { return a ^ b; }
};

// Pairwise, in the order of a butterfly: the same sum in every lane.
template <class Group, class T, class F>
inline T reduce(const Group &g, T value, F f, WB_LINE) {
    const wb_lanes lanes = g.lanes();
    const unsigned count = lanes.count(), rank = lanes.rank();
    unsigned power = 1;
    while (power * 2 <= count) power *= 2;
    if (power < count) {  // fold what is over a power of two
        const T other = lanes.get(value, rank + power < count ? rank + power : rank, wb_line);
        if (rank + power < count) value = f(value, other);
    }
    for (unsigned step = power / 2; step; step /= 2) {
        const T other = lanes.get(value, rank < power ? rank ^ step : rank, wb_line);
        if (rank < power) value = (rank & step) ? f(other, value) : f(value, other);
    }
    return lanes.get(value, rank < power ? rank : 0, wb_line);
}
template <class Group, class T, class F>
inline T inclusive_scan(const Group &g, T value, F f, WB_LINE) {
    const wb_lanes lanes = g.lanes();
    const unsigned count = lanes.count(), rank = lanes.rank();
    for (unsigned step = 1; step < count; step *= 2) {
        const T other = lanes.get(value, rank >= step ? rank - step : rank, wb_line);
        if (rank >= step) value = f(other, value);
    }
    return value;
}
template <class Group, class T>
inline T inclusive_scan(const Group &g, T value, WB_LINE) { return inclusive_scan(g, value, plus<T>(), wb_line); }
template <class Group, class T, class F>
inline T exclusive_scan(const Group &g, T value, F f, WB_LINE) {
    const wb_lanes lanes = g.lanes();
    const unsigned rank = lanes.rank();
    const T all = inclusive_scan(g, value, f, wb_line);
    const T before = lanes.get(all, rank ? rank - 1 : 0, wb_line);
    return rank ? before : T();
}
template <class Group, class T>
inline T exclusive_scan(const Group &g, T value, WB_LINE) { return exclusive_scan(g, value, plus<T>(), wb_line); }

}  // namespace cooperative_groups
