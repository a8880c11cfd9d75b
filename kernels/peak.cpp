#include "kernels/peak.h"

#include "kernels/simd.h"

#include "kernels/isa_begin.h"

// Independent chains: at least latency (4 or 5 cycles) times units (2), and no more than the registers hold.
#ifdef MPQ_ISA_avx512
constexpr int kChains = 12;
#else
constexpr int kChains = 6;  // of two registers each
#endif

int64_t run_multiply_adds(int64_t flops, float& result) {
  const int64_t flops_a_round = kChains * 16 * 2, rounds = (flops + flops_a_round - 1) / flops_a_round;
  const F16 slope = set(0.5f), rise = set(result + 1.0f);  // every chain converges: no overflow, no denormals
  F16 chain[kChains];
#pragma GCC unroll 12
  for (int i = 0; i < kChains; ++i) chain[i] = set(static_cast<float>(i));
  for (int64_t round = 0; round < rounds; ++round)
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) chain[i] = fma(chain[i], slope, rise);
  F16 sum = zero();
#pragma GCC unroll 12
  for (int i = 0; i < kChains; ++i) sum = sum + chain[i];
  result = sum_lanes(sum);
  return rounds * flops_a_round;
}

#include "kernels/isa_end.h"
