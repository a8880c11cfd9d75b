// PruneSpec: which elements of a tensor become zero, of a weight once and for good, of an activation in every forward.
// Text: none, random(sparsity=0.5), l1(sparsity=0.5,scope=global), l1(pattern=2:4).
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "base/hd.h"

namespace mpq {

enum class Role : uint8_t;  // quant/tiles.h

// l1: the smallest magnitudes go; random: each element goes with probability `sparsity`.
enum class PruneMethod : uint8_t { none, random, l1 };
// What l1 takes one threshold over: a weight, or all pruned weights together; a token's row, or all rows of a batch.
enum class PruneScope : uint8_t { local, global, row, batch };

// Trivially copyable: kernels read it from a table in device memory.
struct PruneSpec {
  PruneMethod method = PruneMethod::none;
  PruneScope scope = PruneScope::local;
  float sparsity = 0;    // [0, 1), the share of zeros; 0 takes nothing away
  int32_t n = 0, m = 0;  // n:m: of every m neighbours along a weight's input n stay; 0: no such pattern

  HD explicit operator bool() const { return method != PruneMethod::none; }
  HD bool over_batch() const { return method == PruneMethod::l1 && scope == PruneScope::batch && sparsity > 0; }
  bool operator==(const PruneSpec&) const = default;
};

// Of weights or activations: scope local (default) or global for the ones, row (default) or batch for the others.
// UserError: unknown method or key, a sparsity outside [0, 1), a pattern that is none.
PruneSpec parse_prune_spec(std::string_view text, Role role);
std::string to_text(const PruneSpec& spec);  // canonical
std::string_view to_text(PruneMethod method);

}  // namespace mpq
