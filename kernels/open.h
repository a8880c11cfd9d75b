// The door of the CPU backend, for tensor/open.cpp and for the tests, which open every instruction set.
#pragma once
#include <memory>

#include "base/simd.h"

namespace mpq {

class Device;

std::unique_ptr<Device> open_cpu();  // of simd()
std::unique_ptr<Device> open_cpu(Simd simd);

}  // namespace mpq
