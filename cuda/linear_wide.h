// Linears that are wide enough for cuBLASLt, in bf16: their operands are rounded in scratch memory, in slabs of rows.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "cuda/cublaslt.h"
#include "cuda/linear.cuh"
#include "cuda/narrow.h"
#include "tensor/arena.h"

namespace mpq {

class WideLinears {
 public:
  // Scratch memory of the lane where they run: cuBLASLt's, then that of copies and of chunks' sums.
  static constexpr size_t kScratch = CublasLt::kWorkspace + (size_t{288} << 20);

  WideLinears(Precision precision, const Lane& lane) : precision_(precision), lane_(lane) {}

  // Whether the Linears of one call go this way: by their sizes, the precision, the library and the GPU alone. The
  // first that might loads the library.
  bool take(std::span<const Linear1> ops);
  bool take(std::span<const Linear1Grad> ops);

  // y, saved and copies of args' problems, as linear_kernel makes them.
  void output(const LinearArgs& args, int problems, int replicas);
  // dx, dw and dbias. dy is the gradient of the product's output.
  void gradients(std::span<const Linear1Grad> ops, int replicas);

  // Of the library, once it was asked for.
  const std::string& text() const { return text_; }

 private:
  struct Size {
    int64_t out, in;
  };
  struct Slab {
    int replica;
    int64_t first, rows;
  };
  // The gradient of an output as an operand: all of the slab's rows. Those that fill whole chunks are taken from there;
  // where they do not make the slab, `rest` has the last chunk, zeros behind the batch's rows.
  struct Gradient {
    NarrowRows rows, rest;
    int64_t whole;
    const float* sums = nullptr;  // of each NarrowCopies::kSumRows
  };
  static std::vector<Size> sizes_of(std::span<const Linear1> ops);
  static std::vector<Size> sizes_of(std::span<const Linear1Grad> ops);
  bool take(std::span<const Size> sizes);
  static int64_t slab_rows(std::span<const Size> sizes);
  static int64_t slab_rows_of_narrow(const Size& size);
  Arena arena() const { return {lane_.scratch + CublasLt::kWorkspace, lane_.scratch_bytes - CublasLt::kWorkspace}; }
  void output(const LinearArgs& args, int problems, const Slab& slab);
  void gradients(std::span<const Linear1Grad> ops, const Slab& slab);
  static Gradient gradient(const Linear1Grad& op, NarrowCopies& copies, const Slab& slab);
  void input_grad(const Linear1Grad& op, bool accumulate, const NarrowRows& dy, const uint16_t* w, const Slab& slab);
  void weight_grad(const Linear1Grad& op, const Gradient& dy, const uint16_t* x, Arena& arena, const Slab& slab);

  Precision precision_;
  Lane lane_;
  bool opened_ = false;
  std::unique_ptr<CublasLt> products_;
  std::string text_;
};

}  // namespace mpq
