// The door of the CPU backend, for tensor/open.cpp and for what dispatches by instruction set itself.
#pragma once
#include <memory>

namespace mpq {

class Device;
enum class CpuIsa { avx2, avx512 };

// The best instruction set of this machine, or the one MPQ_SIMD=avx2|avx512 asks for. UserError if there is none.
CpuIsa chosen_isa();
const char* isa_name(CpuIsa isa);
std::unique_ptr<Device> open_cpu();

}  // namespace mpq
