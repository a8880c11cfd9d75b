// Dropout masks by address: the bits of kernels/dropout.h. Element e of a row uses counter word 0 = e / 128 * 16 + e %
// 16 and, of its four output words, the half number e % 128 / 16: one call serves the eight elements e, e + 16 ... e +
// 112 of a group of 128.
#pragma once
#include "base/philox.h"
#include "cuda/common.cuh"

namespace mpq {

struct DropoutKey {
  uint32_t k0 = 0, k1 = 0, step = 0;
  uint32_t threshold = 0;  // dropped where the 16 bits are below it
  float scale = 1;         // of what is kept
  bool on = false;
};

__device__ __forceinline__ DropoutKey dropout_key(const Dropout& d, int replica) {
  if (d.p <= 0) return {};
  const uint64_t seed = d.seeds[replica];
  return {static_cast<uint32_t>(seed),
          static_cast<uint32_t>(seed >> 32) ^ (d.site * 0x9E3779B9u + 0x7F4A7C15u),
          static_cast<uint32_t>(*d.step),
          static_cast<uint32_t>(d.p * 65536.0f + 0.5f),
          1.0f / (1.0f - d.p),
          true};
}

// The eight halves of counter `lane` (0 ... 15) in the group `e / 128`: those of elements group * 128 + lane + 16 s.
// c1 = position or query; c2 = Dropout::first + sequence + head * 2^20. Callers add `first`: from a kernel's argument
// it takes no register.
__device__ __forceinline__ Philox dropout_bits(const DropoutKey& key, uint32_t group, uint32_t lane, uint32_t c1,
                                               uint32_t c2) {
  return philox(group * 16 + lane, c1, c2, key.step, key.k0, key.k1);
}
__device__ __forceinline__ uint32_t dropout_half(const Philox& bits, int s) {
  return s % 2 ? bits.word[s / 2] >> 16 : bits.word[s / 2] & 0xFFFFu;
}
// What element s (0 ... 7) of the eight is multiplied by: 0 or 1 / (1 - p).
__device__ __forceinline__ float dropout_factor(const DropoutKey& key, const Philox& bits, int s) {
  return dropout_half(bits, s) < key.threshold ? 0.0f : key.scale;
}

// One element by itself: eight times the work a call; for odd shapes only.
__device__ __forceinline__ float dropout_factor_of(const DropoutKey& key, uint32_t e, uint32_t c1, uint32_t c2) {
  return dropout_factor(key, dropout_bits(key, e / 128, e % 16, c1, c2), static_cast<int>(e % 128 / 16));
}

}  // namespace mpq
