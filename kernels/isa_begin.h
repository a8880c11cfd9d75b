// Every file of kernels/ is compiled twice, with MPQ_ISA = avx2 or avx512 (CMakeLists.txt). After all its #includes it
// includes this header, which opens namespace mpq::MPQ_ISA and lets the compiler use that instruction set; isa_end.h
// closes both. Code of the standard library and of shared headers stays at the baseline, so the linker may merge it.
#ifndef MPQ_ISA
#error "kernels are compiled with -DMPQ_ISA=avx2 or avx512"
#endif
#pragma GCC push_options
#ifdef MPQ_ISA_avx512
#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512")
#else
#pragma GCC target("avx2,fma")
#endif
namespace mpq::MPQ_ISA {
