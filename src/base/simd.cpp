#include "base/simd.h"

#include <cstdlib>

#include "base/error.h"

namespace mpq {

bool has_simd(Simd simd) {
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (simd == Simd::avx2) return avx2;
  return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

std::string_view to_text(Simd simd) { return simd == Simd::avx512 ? "avx512" : "avx2"; }

static Simd choose_simd() {
  if (!has_simd(Simd::avx2))
    throw UserError("this CPU has no AVX2 and FMA", "mpq needs an x86-64 CPU of 2013 or later");
  const char* wish = std::getenv("MPQ_SIMD");
  if (!wish || !*wish) return has_simd(Simd::avx512) ? Simd::avx512 : Simd::avx2;
  for (Simd simd : {Simd::avx2, Simd::avx512})
    if (wish == to_text(simd) && has_simd(simd)) return simd;
  throw UserError(fmt::format("MPQ_SIMD={} cannot be used", wish),
                  has_simd(Simd::avx512) ? "allowed here: avx2, avx512" : "allowed here: avx2");
}

Simd simd() {
  static const Simd chosen = choose_simd();
  return chosen;
}

}  // namespace mpq
