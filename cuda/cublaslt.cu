#include "cuda/cublaslt.h"

#if !__has_include(<cublasLt.h>)
namespace mpq {
std::unique_ptr<CublasLt> open_cublaslt(void*) { return nullptr; }
std::string describe_cublaslt() { return "no cuBLASLt (built without cublasLt.h)"; }
}  // namespace mpq
#else

#include <map>
#include <optional>
#include <tuple>

#include "base/error.h"
#include "base/log.h"
#include "cuda/common.cuh"
#include "cuda/cublaslt_library.h"

namespace mpq {
namespace {

constexpr int kAlignment = 16;  // of every matrix, in bytes

// A row-major matrix [rows, cols] is cuBLAS's [cols, rows]: so every product here is the transpose of what is asked
// for, result^T = a b, with a from `right` and b from `left`.
struct Sizes {
  struct Stored {
    int64_t rows, cols;  // as cuBLAS counts; rows lie side by side
    int64_t apart = rows;
  };
  Stored a, b, result;
  bool transpose_a = false, transpose_b = false;
};
Sizes sizes_of(WideKind kind, int64_t out, int64_t in, int64_t rows) {
  if (kind == WideKind::output) return {{in, out}, {in, rows}, {out, rows}, true, false};
  if (kind == WideKind::input_grad) return {{in, out}, {out, rows}, {in, rows}};
  return {{in, rows}, {out, rows}, {in, out}, false, true};
}
Sizes sizes_of(const WideProduct& p) {
  Sizes sizes = sizes_of(p.kind, p.out, p.in, p.rows);
  if (p.left_apart > 0) sizes.b.apart = p.left_apart;
  return sizes;
}

std::string text_of(const WideProduct& p) {
  constexpr const char* names[] = {"output", "gradient of the input", "gradient of the weight"};
  return fmt::format("{} of a Linear of {} to {}, {} rows, {} chunk(s), bias {}, accumulate {}",
                     names[static_cast<int>(p.kind)], p.in, p.out, p.rows, p.chunks, p.bias != nullptr, p.accumulate);
}

// cuBLASLt may load a kernel or allocate for itself when it first meets a product, also while a step is recorded: that
// is allowed to what says that it knows.
class RelaxedCapture {
 public:
  RelaxedCapture() { exchange(); }
  ~RelaxedCapture() { exchange(); }
  RelaxedCapture(const RelaxedCapture&) = delete;
  RelaxedCapture& operator=(const RelaxedCapture&) = delete;

 private:
  void exchange() { cudaThreadExchangeStreamCaptureMode(&mode_); }
  cudaStreamCaptureMode mode_ = cudaStreamCaptureModeRelaxed;
};

class CublasLtProducts final : public CublasLt {
 public:
  CublasLtProducts(const CublasLtLibrary& library, void* workspace) : lt_(library), workspace_(workspace) {
    const RelaxedCapture relaxed;
    const cublasStatus_t status = lt_.create(&handle_);
    if (status != CUBLAS_STATUS_SUCCESS)
      throw UserError(fmt::format("cuBLASLt {} does not start: {}", lt_.version(), lt_.status_string(status)),
                      "MPQ_CUBLASLT=off does without, MPQ_CUBLASLT=FILE takes another libcublasLt.so");
  }
  ~CublasLtProducts() override {
    for (const auto& [key, plan] : plans_)
      if (plan) lt_.desc_destroy(plan->desc);
    lt_.destroy(handle_);
  }

  bool serves(int64_t out, int64_t in) override {
    const RelaxedCapture relaxed;
    return plan_of(WideKind::output, out, in, true) && plan_of(WideKind::output, out, in, false) &&
           plan_of(WideKind::input_grad, out, in, false) && plan_of(WideKind::weight_grad, out, in, false);
  }

  void run(const WideProduct& p, cudaStream_t stream) override {
    const RelaxedCapture relaxed;
    const auto& plan = plan_of(p.kind, p.out, p.in, p.bias != nullptr);
    mpq::check(plan.has_value(), "no algorithm of cuBLASLt: {}", text_of(p));
    mpq::check(aligned(p.left) && aligned(p.right) && aligned(p.result) && aligned(p.bias), "not aligned: {}",
               text_of(p));
    mpq::check(p.kind != WideKind::weight_grad || p.rows == chunk_of(p.out, p.in), "another chunk: {}", text_of(p));
    if (p.bias) set(plan->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.bias);
    const Layouts l(*this, sizes_of(p), p.chunks);
    const float one = 1, kept = p.accumulate ? 1.0f : 0.0f;
    const cublasStatus_t status =
        lt_.matmul(handle_, plan->desc, &one, p.right, l.a, p.left, l.b, &kept, p.result, l.result, p.result, l.result,
                   &plan->algorithm, workspace_, kWorkspace, stream);
    check(status, text_of(p));
  }

 private:
  struct Plan {
    cublasLtMatmulDesc_t desc = nullptr;
    cublasLtMatmulAlgo_t algorithm{};
  };

  // The three matrices of a product, or of `count` side by side.
  struct Layouts {
    Layouts(const CublasLtProducts& products, const Sizes& s, int64_t count)
        : lt(products.lt_),
          a(products.layout(CUDA_R_16BF, s.a, count)),
          b(products.layout(CUDA_R_16BF, s.b, count)),
          result(products.layout(CUDA_R_32F, s.result, count)) {}
    ~Layouts() {
      for (cublasLtMatrixLayout_t layout : {a, b, result}) lt.layout_destroy(layout);
    }
    Layouts(const Layouts&) = delete;
    Layouts& operator=(const Layouts&) = delete;

    const CublasLtLibrary& lt;
    cublasLtMatrixLayout_t a, b, result;
  };
  cublasLtMatrixLayout_t layout(cudaDataType_t type, const Sizes::Stored& m, int64_t count) const {
    cublasLtMatrixLayout_t layout = nullptr;
    check(lt_.layout_create(&layout, type, m.rows, m.cols, m.apart), "layout");
    if (count == 1) return layout;
    const auto batch = static_cast<int32_t>(count);
    const int64_t apart = m.apart * m.cols;
    check(lt_.layout_set(layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &batch, sizeof batch), "layout");
    check(lt_.layout_set(layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &apart, sizeof apart), "layout");
    return layout;
  }

  template <class T>
  void set(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t attribute, const T& value) const {
    check(lt_.desc_set(desc, attribute, &value, sizeof value), "description of a product");
  }
  void check(cublasStatus_t status, const std::string& what) const {
    if (status != CUBLAS_STATUS_SUCCESS)
      throw InternalError(fmt::format("cuBLASLt {}, {}: {} ({})", lt_.version(), what, lt_.status_string(status),
                                      static_cast<int>(status)));
  }

  const std::optional<Plan>& plan_of(WideKind kind, int64_t out, int64_t in, bool bias) {
    const auto [at, is_new] = plans_.try_emplace({kind, out, in, bias});
    if (is_new) at->second = plan(kind, out, in, bias);
    return at->second;
  }

  // The first algorithm that the library proposes for a usual size and that sums in one go; it serves all sizes.
  std::optional<Plan> plan(WideKind kind, int64_t out, int64_t in, bool bias) const {
    constexpr int64_t kUsualRows = 8192, kUsualChunks = 4;
    const bool chunked = kind == WideKind::weight_grad;
    const Sizes sizes = sizes_of(kind, out, in, chunked ? chunk_of(out, in) : kUsualRows);
    Plan plan;
    check(lt_.desc_create(&plan.desc, CUBLAS_COMPUTE_32F, CUDA_R_32F), "description of a product");
    set(plan.desc, CUBLASLT_MATMUL_DESC_TRANSA, sizes.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(plan.desc, CUBLASLT_MATMUL_DESC_TRANSB, sizes.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
    if (bias) {
      set(plan.desc, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
      set(plan.desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, uintptr_t{kAlignment});  // says no more than how it is aligned
    }

    constexpr int kMost = 32;
    cublasLtMatmulHeuristicResult_t proposed[kMost] = {};
    const std::string shape = fmt::format("{} x {}", sizes.result.cols, sizes.result.rows);
    const int count = propose(plan.desc, Layouts(*this, sizes, chunked ? kUsualChunks : 1), shape, proposed, kMost);
    for (int i = 0; i < count; ++i) {
      if (proposed[i].state != CUBLAS_STATUS_SUCCESS || !sums_in_one_go(proposed[i].algo)) continue;
      plan.algorithm = proposed[i].algo;
      if (log().should_log(spdlog::level::debug))
        log().debug("cuBLASLt {}, kind {}, {} to {}, bias {}: proposal {} of {}, {}", lt_.version(),
                    static_cast<int>(kind), in, out, bias, i, count, text_of_algorithm(plan.algorithm));
      return plan;
    }
    log().warn("cuBLASLt {} proposes nothing for a Linear of {} to {} (kind {}, {} proposals)", lt_.version(), in, out,
               static_cast<int>(kind), count);
    lt_.desc_destroy(plan.desc);
    return {};
  }

  int propose(cublasLtMatmulDesc_t desc, const Layouts& l, const std::string& shape,
              cublasLtMatmulHeuristicResult_t* to, int most) const {
    cublasLtMatmulPreference_t preference = nullptr;
    check(lt_.preference_create(&preference), "preference");
    const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
      check(lt_.preference_set(preference, attribute, &value, sizeof value), "preference");
    };
    prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t{kWorkspace});
    prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, uint32_t{CUBLASLT_REDUCTION_SCHEME_NONE});
    for (const auto alignment :
         {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
          CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
      prefer(alignment, uint32_t{kAlignment});
    int count = 0;
    const cublasStatus_t status =
        lt_.heuristic(handle_, desc, l.a, l.b, l.result, l.result, preference, most, to, &count);
    lt_.preference_destroy(preference);
    if (status == CUBLAS_STATUS_NOT_SUPPORTED) return 0;
    check(status, "asking for algorithms for a result of " + shape);
    return count;
  }

  template <class T>
  T config(const cublasLtMatmulAlgo_t& algorithm, cublasLtMatmulAlgoConfigAttributes_t attribute) const {
    T value{};
    size_t written = 0;
    check(lt_.config_attribute(&algorithm, attribute, &value, sizeof value, &written), "an algorithm's attribute");
    return value;
  }
  bool sums_in_one_go(const cublasLtMatmulAlgo_t& a) const {
    return config<int32_t>(a, CUBLASLT_ALGO_CONFIG_SPLITK_NUM) <= 1 &&
           config<uint32_t>(a, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME) == CUBLASLT_REDUCTION_SCHEME_NONE;
  }
  std::string text_of_algorithm(const cublasLtMatmulAlgo_t& a) const {
    return fmt::format("algorithm {}, tile {}, stages {}, swizzle {}, option {}, cluster {}",
                       config<int32_t>(a, CUBLASLT_ALGO_CONFIG_ID), config<uint32_t>(a, CUBLASLT_ALGO_CONFIG_TILE_ID),
                       config<uint32_t>(a, CUBLASLT_ALGO_CONFIG_STAGES_ID),
                       config<uint32_t>(a, CUBLASLT_ALGO_CONFIG_CTA_SWIZZLING),
                       config<uint32_t>(a, CUBLASLT_ALGO_CONFIG_CUSTOM_OPTION),
                       config<uint16_t>(a, CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID));
  }

  const CublasLtLibrary& lt_;
  void* workspace_;
  cublasLtHandle_t handle_ = nullptr;
  std::map<std::tuple<WideKind, int64_t, int64_t, bool>, std::optional<Plan> > plans_;
};

}  // namespace

std::unique_ptr<CublasLt> open_cublaslt(void* workspace) {
  if (cublaslt_is_off() || !find_cublaslt().found) return nullptr;
  return std::make_unique<CublasLtProducts>(*find_cublaslt().found, workspace);
}

std::string describe_cublaslt() {
  if (cublaslt_is_off()) return "no cuBLASLt (MPQ_CUBLASLT=off)";
  const CublasLtSearch& search = find_cublaslt();
  if (!search.found) return fmt::format("no cuBLASLt ({})", search.why_not);
  const size_t version = search.found->version();
  return fmt::format("cuBLASLt {}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

}  // namespace mpq
#endif
