// Which of the two compiled instruction sets the CPU kernels use.
#pragma once
#include <string_view>

namespace mpq {

enum class Simd { avx2, avx512 };

bool has_simd(Simd simd);
// The widest one this CPU has, or the one that the environment variable MPQ_SIMD (avx2, avx512) names. Chosen once.
// UserError if the CPU has not even AVX2 and FMA, or not what MPQ_SIMD asks for.
Simd simd();
std::string_view to_text(Simd simd);

}  // namespace mpq
