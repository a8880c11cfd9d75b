#include "train/liblinear.h"

#include <linear.h>

#include <mutex>

#include "base/error.h"

extern "C" void openblas_set_num_threads(int threads);

namespace mpq {
namespace {

// liblinear reports on standard output, and adds with a BLAS whose sums would depend on its threads.
void prepare_once() {
  static std::once_flag once;
  std::call_once(once, [] {
    set_print_string_function([](const char*) {});
    openblas_set_num_threads(1);
  });
}

// liblinear's rows: pairs of an index from 1 and a value, the bias, and an end mark of index -1.
class Nodes {
 public:
  explicit Nodes(const LogisticProblem& p) {
    const auto bias_index = static_cast<int>(p.scale.size()) + 1;
    size_t count = 0;
    for (int64_t r : p.rows) count += p.features.row(r).size() + 2;
    nodes_.reserve(count);
    for (int64_t r : p.rows) {
      begins_.push_back(nodes_.data() + nodes_.size());
      for (int32_t f : p.features.row(r)) nodes_.push_back({f + 1, p.scale[static_cast<size_t>(f)]});
      nodes_.push_back({bias_index, 1.0});
      nodes_.push_back({-1, 0.0});
    }
  }
  feature_node** rows() { return begins_.data(); }

 private:
  std::vector<feature_node> nodes_;
  std::vector<feature_node*> begins_;
};

}  // namespace

LogisticSolution solve(const LogisticProblem& p) {
  prepare_once();
  Nodes nodes(p);
  std::vector<double> y(p.signs.begin(), p.signs.end());
  problem data{.l = static_cast<int>(p.rows.size()),
               .n = static_cast<int>(p.scale.size()) + 1,
               .y = y.data(),
               .x = nodes.rows(),
               .bias = 1};
  parameter options{};
  options.solver_type = L2R_LR;
  options.eps = 0.01;  // liblinear's default for this solver
  options.C = p.c;
  const char* complaint = check_parameter(&data, &options);
  check(complaint == nullptr, "liblinear: {}", complaint ? complaint : "");
  model* solved = ::train(&data, &options);
  check(solved->nr_class == 2, "{} classes instead of 2", solved->nr_class);
  const double sign = solved->label[0] == 1 ? 1 : -1;  // liblinear's weights are for its first label
  LogisticSolution solution{std::vector<double>(solved->w, solved->w + p.scale.size()),
                            sign * solved->w[p.scale.size()]};
  for (double& w : solution.weights) w *= sign;
  free_and_destroy_model(&solved);
  return solution;
}

}  // namespace mpq
