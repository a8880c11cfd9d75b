// Values that the compiler may not see through.
#pragma once

namespace mpq {

#ifdef __CUDACC__

// x, in a register: without this what a loop only adds to, or derives from, is computed anew in every round, or all
// that is derived from it is held through the loop.
template <class T>
__device__ __forceinline__ T opaque(T x) {
  if constexpr (sizeof(T) == 8)
    asm volatile("" : "+l"(x));
  else
    asm volatile("" : "+r"(x));
  return x;
}

#endif

}  // namespace mpq
