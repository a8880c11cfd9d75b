#if __has_include(<cublasLt.h>)
#include "cuda/cublaslt_library.h"

#include <dlfcn.h>

#include <cstdlib>
#include <vector>

#include "base/error.h"

namespace mpq {
namespace {

std::string wish() {
  const char* variable = std::getenv("MPQ_CUBLASLT");
  return variable ? variable : "";
}

// The newest first; then where CUDA's own installer puts it without telling the loader.
std::vector<std::string> names() {
  if (!wish().empty()) return {wish()};
  return {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so", "/usr/local/cuda/lib64/libcublasLt.so"};
}

// What the file lacks, or nothing.
std::string load(const std::string& file, CublasLtLibrary& to) {
  void* library = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) return ::dlerror();
  std::string missing;
  const auto find = [&](const char* name, auto& function) {
    function = reinterpret_cast<std::decay_t<decltype(function)>>(::dlsym(library, name));
    if (!function && missing.empty()) missing = fmt::format("{} has no {}", file, name);
  };
  find("cublasLtCreate", to.create);
  find("cublasLtDestroy", to.destroy);
  find("cublasLtGetVersion", to.version);
  find("cublasLtGetStatusString", to.status_string);
  find("cublasLtMatmul", to.matmul);
  find("cublasLtMatmulAlgoGetHeuristic", to.heuristic);
  find("cublasLtMatmulAlgoConfigGetAttribute", to.config_attribute);
  find("cublasLtMatmulDescCreate", to.desc_create);
  find("cublasLtMatmulDescDestroy", to.desc_destroy);
  find("cublasLtMatmulDescSetAttribute", to.desc_set);
  find("cublasLtMatrixLayoutCreate", to.layout_create);
  find("cublasLtMatrixLayoutDestroy", to.layout_destroy);
  find("cublasLtMatrixLayoutSetAttribute", to.layout_set);
  find("cublasLtMatmulPreferenceCreate", to.preference_create);
  find("cublasLtMatmulPreferenceDestroy", to.preference_destroy);
  find("cublasLtMatmulPreferenceSetAttribute", to.preference_set);
  constexpr size_t oldest = 120000;  // 12.0
  if (missing.empty() && to.version() < oldest) missing = fmt::format("{} is older than 12.0", file);
  return missing;
}

CublasLtSearch search() {
  static CublasLtLibrary library;
  std::string first_miss;
  for (const std::string& name : names()) {
    const std::string miss = load(name, library);
    if (miss.empty()) return {&library, {}};
    if (first_miss.empty()) first_miss = miss;
  }
  if (!wish().empty())
    throw UserError(fmt::format("MPQ_CUBLASLT={}: {}", wish(), first_miss),
                    "allowed: off, or the file of a libcublasLt.so of version 12 or later");
  return {nullptr, first_miss};
}

}  // namespace

bool cublaslt_is_off() { return wish() == "off"; }

const CublasLtSearch& find_cublaslt() {
  static const CublasLtSearch result = search();
  return result;
}

}  // namespace mpq
#endif
