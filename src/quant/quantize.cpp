#include "quant/quantize.h"

namespace mpq {

#define MPQ_KERNELS(isa)                                                                                          \
  namespace isa {                                                                                                 \
  void quantize(const QuantSpec&, Role, const QuantShape&, const float*, float*, const float*);                   \
  void quantize_grad(const QuantSpec&, Role, const QuantShape&, const float*, const float*, float*, const float*, \
                     float*);                                                                                     \
  }
MPQ_KERNELS(avx2)
MPQ_KERNELS(avx512)
#undef MPQ_KERNELS

void quantize(const QuantSpec& spec, Role role, const QuantShape& shape, const float* x, float* y, const float* trained,
              Simd isa) {
  (isa == Simd::avx512 ? avx512::quantize : avx2::quantize)(spec, role, shape, x, y, trained);
}

void quantize_grad(const QuantSpec& spec, Role role, const QuantShape& shape, const float* x, const float* dxq,
                   float* dx, const float* trained, float* dtrained, Simd isa) {
  (isa == Simd::avx512 ? avx512::quantize_grad : avx2::quantize_grad)(spec, role, shape, x, dxq, dx, trained, dtrained);
}

}  // namespace mpq
