}  // namespace mpq::MPQ_ISA
#pragma GCC pop_options
