// Sums over two devices, each used by a thread of its own.
#pragma once
#include <array>
#include <memory>

#include "tensor/tensor.h"

namespace mpq {

// One device's end. Both ends are asked for the same sums, in the same order.
class Exchange {
 public:
  virtual ~Exchange() = default;
  // t [n], float32, of one replica: becomes t + the other end's t, in the order of the device's operations. Addition
  // commutes, so both ends get the same bits. Throws Stopped once the sums are abandoned.
  virtual void sum(const Tensor& t) = 0;
  // One end's thread has failed: nobody waits for it, at either end, any longer.
  virtual void abandon() = 0;
};
using ExchangeEnds = std::array<std::unique_ptr<Exchange>, 2>;

}  // namespace mpq
