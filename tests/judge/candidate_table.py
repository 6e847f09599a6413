"""Which verdict each candidate of tests/judge/candidates must get: the table that the tests and tests/bench judge.

A candidate's first comment says in a sentence what it is, or gets wrong. One of another task belongs in that task's
folder; a wrong one must fail by a mechanism, never by a lucky draw.
"""

from __future__ import annotations

from pathlib import Path

from workbench.core.verdict import Verdict

CANDIDATES = Path(__file__).parent / "candidates"
"""A folder for each task: task.py, and a file for each candidate."""
LAUNCH_LIMIT_S = 2.0
"""A launch may take so long; honest ones take milliseconds, and one of the table never ends."""

EXPECTED: dict[str, dict[str, str]] = {
    "norm": {
        # Honest.
        "two_pass": "pass",
        "dynamic_shared": "pass",
        "templated": "pass",
        "float_atomics": "pass",
        "three_launches": "pass",
        "requires": "pass",
        "barrier_after_return": "pass",
        "set_later": "pass",
        "drops_nan": "pass",
        "hangs_on_nan": "pass",
        "shuffles": "pass",
        "own_pattern": "pass",
        "compiled_for_its_width": "pass",
        "more_threads_than_rows": "pass",
        "clears_by_memset": "pass",
        "chunks_of_254": "pass",
        "short_name": "pass",
        # The code does what it must not.
        "reads_clock": "audit",
        "static_counter": "audit",
        "prints": "audit",
        "allocates": "audit",
        "caches_by_pointer": "audit",
        "only_when_timed": "audit",
        "counts_its_launches": "audit",
        "fills_with_zeros": "audit",
        # The result is wrong.
        "sums_of_other_threads": "bounds",
        "wrong_scale": "numerics",
        "ignores_weight": "numerics",
        "ignores_eps": "numerics",
        "samples_the_row": "numerics",
        "copies": "numerics",
        "infinite_loop": "numerics",
        "recursion": "numerics",
        "half_accumulate": "numerics",  # overflows where the rows are offset
        "bf16_inputs": "numerics",
        "fast_inverse_root": "numerics",
        "offset_of_12_bits": "numerics",
        "tf32_inputs": "precision",
        "tf32_factor": "precision",
        # Memory.
        "unwritten_rows": "poison",
        "empty_kernel": "audit",
        "reads_scratch": "poison",
        "unset_sum": "poison",
        "unset_array": "poison",
        "unset_maximum": "poison",
        "keeps_a_plausible_result": "poison",
        "writes_input": "inputs_intact",
        "missing_bounds_check": "bounds",
        "reads_one_too_far": "bounds",
        "writes_one_too_far": "bounds",
        "writes_before_start": "bounds",
        "null_pointer": "bounds",
        "reads_behind_the_result": "bounds",
        # Threads and sizes.
        "divergent_barrier": "determinism",
        "missing_barrier": "determinism",
        "copies_128_bytes_early": "determinism",
        "copies_32_bytes_early": "determinism",
        "clears_beside_readers": "determinism",
        "shuffle_from_nowhere": "determinism",
        "hard_coded_size": "shapes",
        "no_barrier_in_odd_rows": "shapes",
        "no_barrier_in_undeclared_rows": "shapes",
        "reads_the_slack_of_odd_rows": "shapes",
        "counter_in_undeclared_rows": "shapes",
        # Not the candidate's fault.
        "inline_ptx": "error",
        "cub_block_reduce": "error",
        "libcuxx_atomics": "error",
    },
    "softmax_half": {
        "online": "pass",
        "no_maximum": "numerics",
        "half_accumulate": "numerics",
        "no_first_sum": "poison",
    },
    "add_in_place": {"in_place": "pass", "forgets_the_state": "numerics"},
    "several_outputs": {"one_kernel": "pass", "count_from_one": "poison", "or_equal": "numerics"},
    "library_step": {
        "library_product": "pass",
        "own_kernel_for_even_sizes": "pass",
        "library_and_trivia": "pass",
        "library_only": "audit",
        "library_and_copy": "audit",
        "library_and_fill": "audit",
    },
    "batch_norm": {"warp_per_feature": "pass", "forgets_the_variance": "pass"},
    "odd_bytes": {"guarded": "pass", "writes_into_the_slack": "bounds", "reads_the_slack": "bounds"},
    # The full size has 2^32 elements: nobody runs it, and its indices are followed.
    "huge": {
        "long_index": "pass",
        "row_pointer": "pass",
        "unsigned_index": "pass",
        "requires": "pass",
        "int_index": "shapes",
        "int_row": "shapes",
        "int_define": "shapes",
        "bytes": "shapes",
        "int_count": "compile",
    },
    "argmax": {"first_of_equals": "pass", "last_of_equals": "pass", "off_by_one": "numerics"},
    "layer_norm": {
        "two_pass": "pass",
        "shifted_data": "pass",
        "welford": "pass",
        "double_sums": "pass",
        "kahan": "pass",
        "one_pass_variance": "numerics",
        "assumes_no_bias": "numerics",
        "unbiased_variance": "numerics",
        "eps_outside_the_root": "numerics",
        "hard_coded_eps": "numerics",
        "no_barrier_before_reuse": "determinism",
        "strides_once": "shapes",
    },
    "matmul": {
        "shared_tiles": "pass",
        "register_blocked": "pass",
        "split_k": "pass",
        "split_k_atomics": "pass",
        "half_result": "parse",
        "flat_result": "parse",
        "block_too_large": "parse",
        "looks_at_the_data": "parse",
        "imports_torch": "parse",
        "unknown_parameter": "parse",
        "misspelt_name": "compile",
        "missing_argument": "compile",
        "float_for_an_int": "compile",
        "another_kernel": "compile",
        "too_much_shared_memory": "compile",
        "host_code": "compile",
        "bf16_operands": "numerics",
        "b_transposed": "numerics",
        "stores_tf32": "precision",
        "adds_to_what_is_there": "poison",
        "no_column_guard": "bounds",
        "no_second_barrier": "determinism",
        "adds_without_atomics": "determinism",
        "drops_the_tail_of_k": "shapes",
        "drops_the_tail_of_long_k": "shapes",
    },
    "scan": {
        "look_back": "pass",
        "three_kernels": "pass",
        "one_block": "pass",
        "exclusive": "numerics",
        "forgets_the_carry": "numerics",
        "flags_nobody_cleared": "poison",
        "scans_in_place": "determinism",
        "one_thread_totals": "determinism",
        "one_tile_only": "shapes",
    },
    "histogram": {
        "shared_atomics": "pass",
        "one_vote_a_warp": "pass",
        "coalesced_groups": "pass",
        "last_class_left_out": "numerics",
        "counts_from_noise": "poison",
        "one_label_too_many": "bounds",
        "plain_increments": "determinism",
        "no_barrier_before_merging": "determinism",
    },
    "max_pool": {
        "window_per_thread": "pass",
        "last_of_equals": "pass",
        "starts_at_flt_min": "numerics",
        "place_in_the_window": "numerics",
        "no_guard_on_the_left": "bounds",
        "unset_maximum": "poison",
    },
    "largest_so_far": {"first_of_equals": "pass", "nearly_as_large": "numerics"},
    "topk": {
        "warp_picks": "pass",
        "bitonic_sort": "pass",
        "takes_the_largest_again": "numerics",
        "sorts_without_a_barrier": "determinism",
    },
    # Positions in what is computed inside: near-ties, and underflow to equal zeros, fall out in each kernel's own way.
    "router": {
        "by_logits": "pass",
        "by_probability": "pass",
        "third_for_second": "numerics",
        "chosen_in_half": "numerics",
        "same_expert_twice": "numerics",
    },
    # What a mask puts in the place of logits is larger than all of them, and in fp64 another number.
    "masked_router": {
        "minus_infinity_instead": "pass",
        "always_the_first": "numerics",
        "takes_the_masked": "numerics",
    },
    # Where the mask is one, an ulp of it makes the root NaN.
    "root_of_mask": {"fused": "pass", "a_little_off": "precision"},
    # What is filled in is larger than all that is computed, and no scale for it.
    "masked_scores": {"scaled": "pass", "fused": "pass", "sevens": "numerics", "stores_tf32": "precision"},
    # The task's own check takes either sign.
    "either_sign": {"the_other_sign": "pass", "another_direction": "numerics"},
    # One choice of all, among what a buffer allows: the buffer's zeros and ones are no ties.
    "greedy": {"last_of_equals": "pass", "always_the_first": "numerics"},
    "masked_softmax": {
        "online": "pass",
        "maximum_by_atomics": "pass",
        "nothing_seen_is_nan": "numerics",
        "masks_with_minus_100": "numerics",
        "mask_of_the_first_row": "numerics",
    },
    "logsumexp": {
        "pairs_of_bfloat16": "pass",
        "two_pass": "pass",
        "adds_in_bfloat16": "numerics",
        "base_two": "numerics",
        "warps_share_a_word": "determinism",
    },
    "bias_gelu": {
        "vector_with_tail": "pass",
        "by_sigmoid": "pass",
        "constant_memory": "pass",
        "linear_beyond_two": "numerics",
        "factor_of_the_example": "numerics",
        "overreads_by_a_vector": "bounds",
        "no_tail": "shapes",
    },
    "conv2d": {
        "direct": "pass",
        "im2col": "pass",
        "true_convolution": "numerics",
        "padding_left_as_it_was": "poison",
        "wraps_at_the_right": "bounds",
        "scratch_for_one_channel": "bounds",
    },
    "transpose": {
        "padded_tiles": "pass",
        "no_barrier": "determinism",
        "right_for_squares": "shapes",
    },
    "group_norm": {
        "block_per_group": "pass",
        "squares_in_half": "numerics",
        "first_channels_weight": "numerics",
    },
    "kv_cache": {
        "write_then_read": "pass",
        "leaves_the_cache": "numerics",
        "stores_tf32": "precision",
        "unset_row": "poison",
        "reads_while_writing": "determinism",
    },
    # Four free dimensions: each of them is drawn long, with a tail.
    "heads": {"row_per_thread": "pass", "doubles_long_sequences": "shapes"},
    "triangular": {
        "skips_the_zeros": "pass",
        "leaves_the_diagonal_out": "numerics",
        "leaves_the_upper_half": "poison",
    },
    "center": {
        "grid_sync": "pass",
        "last_block_adds": "pass",
        "mean_of_a_standard_normal": "numerics",
        "ticket_not_cleared": "poison",
        "blocks_do_not_wait": "determinism",
    },
    "embedding": {
        "gather": "pass",
        "first_rows_only": "numerics",
        "counts_from_one": "numerics",
        "scales_the_table": "inputs_intact",
    },
    "normalize": {"thread_per_column": "pass", "without_a_bound": "numerics"},
    "lookup": {
        "row_per_block": "pass",
        "last_token_is_padding": "numerics",
        "cooperative_for_nothing": "compile",
    },
    "causal_scores": {"infinite": "pass", "large_instead": "numerics", "off_beside_it": "precision"},
    # What is returned may be an input only where the reference returns that very input.
    "residual": {"returns_the_input": "pass", "returns_a_copy": "pass", "returns_it_twice": "parse"},
    "snapshot": {"writes_the_copy": "pass", "returns_the_input": "parse"},
    "rope": {
        "sincos_in_place_of_tables": "pass",
        "neighbours_for_halves": "numerics",
        "turns_the_other_way": "numerics",
    },
}
"""By task and file: "pass", "error", or the gate that must fail."""

HONEST_KINDS: dict[str, dict[str, str]] = {
    "float atomics": {"norm/float_atomics": r"atomicAdd\(", "matmul/split_k_atomics": r"atomicAdd\("},
    "two-pass layernorm on constant rows": {"layer_norm/two_pass": r"squares \+= away \* away"},
    "online softmax": {"softmax_half/online": r"sum \* expf", "masked_softmax/online": r"sum \*= expf"},
    "Welford": {"layer_norm/welford": "[Ww]elford"},
    "Kahan": {"layer_norm/kahan": "Kahan"},
    "decoupled look-back scan": {"scan/look_back": r"packed\(PREFIX"},
    "tuple outputs": {
        "several_outputs/one_kernel": "return .*,",
        "topk/bitonic_sort": "return values, places",
    },
    "index outputs": {
        "argmax/first_of_equals": "int64",
        "argmax/last_of_equals": "int64",
        "topk/warp_picks": "places",
        "max_pool/last_of_equals": "int64",
        "router/by_logits": "places",
        "router/by_probability": "places",
    },
    "half": {"softmax_half/online": "__half"},
    "bfloat16": {"logsumexp/pairs_of_bfloat16": "__nv_bfloat16"},
    "dynamic shared memory": {
        "norm/dynamic_shared": "extern __shared__",
        "topk/bitonic_sort": "extern __shared__",
    },
    "templates": {"norm/templated": "template *<"},
    "require": {"norm/requires": r"require\(", "huge/requires": r"require\("},
    "several launches with scratch": {
        "norm/three_launches": r"launch\([\s\S]*launch\([\s\S]*launch\(",
        "scan/three_kernels": r"launch\([\s\S]*launch\([\s\S]*launch\(",
    },
    "skipping a triangle": {"triangular/skips_the_zeros": r"for \(int k = j; k <= i"},
    "aliasing as the reference": {
        "residual/returns_the_input": "return x, y",
        "add_in_place/in_place": "return state",
    },
    "in-place results": {"kv_cache/write_then_read": r"cache\[.*\] = row"},
}
"""Kinds of honest code that judges get wrong: the files that show each, and what a file of that kind has in it."""


def came_out(verdict: Verdict) -> str:
    """A verdict in the words of the table: "pass", "error", or the failed gate."""
    return verdict.failed_gate or "fail" if verdict.outcome == "fail" else verdict.outcome
