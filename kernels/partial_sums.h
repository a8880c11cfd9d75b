// Sums over rows that do not depend on threads: each chunk of kSumRows rows sums into its own part, and the parts are
// added in ascending order.
#pragma once
#include "kernels/cpu.h"

#include "kernels/isa_begin.h"

inline constexpr int64_t kSumRows = 64;

class PartialSums {
 public:
  PartialSums(int replicas, int64_t rows, int64_t width)
      : replicas_(replicas), parts_(chunks(rows, kSumRows)), width_(width), data_(thread_scratch(5, replicas * parts_ * width)) {
    std::fill_n(data_, replicas * parts_ * width, 0.0f);
  }
  float* part(int r, int64_t first_row) { return data_ + (r * parts_ + first_row / kSumRows) * width_; }

  // write(replica, column, sum)
  template <class Write>
  void add_up(Write write) {
    parallel_for(replicas_, [&](int64_t r) {
      float* sum = data_ + r * parts_ * width_;
      for (int64_t p = 1; p < parts_; ++p)
        for (int64_t i = 0; i < width_; ++i) sum[i] += sum[p * width_ + i];
      for (int64_t i = 0; i < width_; ++i) write(static_cast<int>(r), i, sum[i]);
    });
  }

 private:
  int replicas_;
  int64_t parts_, width_;
  float* data_;
};

#include "kernels/isa_end.h"
