// Dropout masks by address (tensor/ops.h): Philox on 16 counters at once, 16 random bits an element.
// Element e of a row uses counter word 0 = e / 128 * 16 + e % 16 and, of its four outputs, the half number e % 128
// / 16.
#pragma once
#include "kernels/simd.h"
#include "tensor/ops.h"

#include "kernels/isa_begin.h"

struct DropoutKey {
  uint32_t k0 = 0, k1 = 0, step = 0;
  int32_t threshold = 0;  // dropped where the 16 bits are below it
  float scale = 1;        // of what is kept
  bool on = false;
  uint32_t first = 0;  // number of the first sequence
};

MPQ_INLINE DropoutKey dropout_key(const Dropout& d, int replica) {
  if (d.p <= 0) return {};
  const uint64_t seed = d.seeds[replica];
  return {static_cast<uint32_t>(seed),
          static_cast<uint32_t>(seed >> 32) ^ (d.site * 0x9E3779B9u + 0x7F4A7C15u),
          static_cast<uint32_t>(*d.step),
          static_cast<int32_t>(d.p * 65536.0f + 0.5f),
          1.0f / (1.0f - d.p),
          true,
          d.first};
}

struct Bits128 {
  I16 word[4];
};
MPQ_INLINE Bits128 random_bits(const DropoutKey& key, int64_t chunk, uint32_t c1, uint32_t c2) {
  I16 a = lane_index() + seti(static_cast<int32_t>(chunk * 16)), b = seti(static_cast<int32_t>(c1));
  I16 c = seti(static_cast<int32_t>(c2 + key.first)), d = seti(static_cast<int32_t>(key.step));
  uint32_t k0 = key.k0, k1 = key.k1;
#pragma GCC unroll 10
  for (int round = 0; round < 10; ++round, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
    const I16 a_high = multiply_high(a, 0xD2511F53u), a_low = multiply_low(a, 0xD2511F53u);
    const I16 c_high = multiply_high(c, 0xCD9E8D57u), c_low = multiply_low(c, 0xCD9E8D57u);
    a = c_high ^ b ^ seti(static_cast<int32_t>(k0));
    c = a_high ^ d ^ seti(static_cast<int32_t>(k1));
    b = c_low;
    d = a_low;
  }
  return {{a, b, c, d}};
}

// visit(offset, mask of lanes, factor): factor is 0 where the element is dropped, else 1 / (1 - p).
// c1 = position or query; c2 = sequence (in this batch) + head * 2^20.
template <class Visit>
MPQ_INLINE void for_dropout(const DropoutKey& key, uint32_t c1, uint32_t c2, int64_t n, Visit visit) {
  const F16 keep = set(key.scale), drop = zero();
  const I16 threshold = seti(key.threshold);
  for (int64_t e = 0; e < n; e += 128) {
    const Bits128 random = random_bits(key, e / 128, c1, c2);
    const int64_t end = e + 128 < n ? e + 128 : n;
    for (int s = 0; s < 8 && e + s * 16 < end; ++s) {
      const I16 word = random.word[s / 2];
      const I16 half = s % 2 ? shift_right<16>(word) : word & seti(0xFFFF);
      const int64_t left = end - e - s * 16;
      visit(e + s * 16, first_lanes(left < 16 ? static_cast<int>(left) : 16),
            select(less(half, threshold), drop, keep));
    }
  }
}

MPQ_INLINE void apply_dropout(const DropoutKey& key, uint32_t c1, uint32_t c2, int64_t n, float* x) {
  if (!key.on) return;
  for_dropout(key, c1, c2, n, [&](int64_t i, M16 m, F16 factor) { store(x + i, load(x + i, m) * factor, m); });
}

#include "kernels/isa_end.h"
