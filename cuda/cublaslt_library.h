// cuBLASLt's functions, found at run time. This header is there only where cublasLt.h is.
#pragma once
#include <cublasLt.h>

#include <string>

namespace mpq {

struct CublasLtLibrary {
  decltype(&cublasLtCreate) create;
  decltype(&cublasLtDestroy) destroy;
  decltype(&cublasLtGetVersion) version;
  decltype(&cublasLtGetStatusString) status_string;
  decltype(&cublasLtMatmul) matmul;
  decltype(&cublasLtMatmulAlgoGetHeuristic) heuristic;
  decltype(&cublasLtMatmulAlgoConfigGetAttribute) config_attribute;
  decltype(&cublasLtMatmulDescCreate) desc_create;
  decltype(&cublasLtMatmulDescDestroy) desc_destroy;
  decltype(&cublasLtMatmulDescSetAttribute) desc_set;
  decltype(&cublasLtMatrixLayoutCreate) layout_create;
  decltype(&cublasLtMatrixLayoutDestroy) layout_destroy;
  decltype(&cublasLtMatrixLayoutSetAttribute) layout_set;
  decltype(&cublasLtMatmulPreferenceCreate) preference_create;
  decltype(&cublasLtMatmulPreferenceDestroy) preference_destroy;
  decltype(&cublasLtMatmulPreferenceSetAttribute) preference_set;
};

struct CublasLtSearch {
  const CublasLtLibrary* found = nullptr;
  std::string why_not;
};
// Looked for once a process. UserError where MPQ_CUBLASLT names a file that does not serve.
const CublasLtSearch& find_cublaslt();
// MPQ_CUBLASLT=off.
bool cublaslt_is_off();

}  // namespace mpq
