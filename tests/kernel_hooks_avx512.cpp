#define MPQ_ISA avx512
#define MPQ_ISA_avx512 1
#include "tests/kernel_hooks.inc"
