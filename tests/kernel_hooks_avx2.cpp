#define MPQ_ISA avx2
#define MPQ_ISA_avx2 1
#include "tests/kernel_hooks.inc"
