// Quantized Linears, forward and backward. A product whose every partial sum is exact in float32 must be equal bit for
// bit, whatever the order of its sums; any other lies within twice the largest error of a plain float32 evaluation, or
// within 4 ulp of the expected value (a plain evaluation may be exact by luck).
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "app/linear.h"
#include "base/error.h"
#include "base/safetensors.h"
#include "quant/quantize.h"
#include "reference/reference.h"

namespace mpq::reference {
namespace {

using Values = std::vector<float>;

// A tensor as it should be, and as float32 in plain order makes it.
struct Expected {
  std::vector<double> exact;
  Values plain;
  bool order_free = true;  // every partial sum, in any order, is exact in float32

  void add(double e, float p) {
    exact.push_back(e);
    plain.push_back(p);
  }
  double tolerance() const {
    double worst = 0;
    for (size_t i = 0; i < exact.size(); ++i) worst = std::max(worst, std::abs(plain[i] - exact[i]));
    return order_free ? 0 : 2 * worst;
  }
};

double ulp(float x) { return std::nextafter(std::abs(x), std::numeric_limits<float>::infinity()) - std::abs(x); }

// The largest power of two that divides x.
double finest_bit(double x) {
  int exponent;
  const auto digits = static_cast<int64_t>(std::ldexp(std::frexp(std::abs(x), &exponent), 53));
  return std::ldexp(1.0, exponent - 53 + std::countr_zero(static_cast<uint64_t>(digits)));
}

struct Sum {
  double exact = 0, magnitude = 0, finest = std::numeric_limits<double>::infinity();
  float plain = 0;
  void add(double term) {  // a product of two floats: exact
    exact += term;
    plain += static_cast<float>(term);
    magnitude += std::abs(term);
    if (term != 0) finest = std::min(finest, finest_bit(term));
  }
  // Partial sums are multiples of `finest` and at most `magnitude`.
  bool order_free() const { return magnitude <= finest * 0x1p24; }
};

// start[j] + sum over k of a(i, k) b(k, j).
template <class A, class B>
Expected product(int64_t rows, int64_t cols, int64_t inner, const A& a, const B& b, const Values& start = {}) {
  Expected result;
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < cols; ++j) {
      Sum sum;
      if (!start.empty()) sum.add(start[j]);
      for (int64_t k = 0; k < inner; ++k) sum.add(static_cast<double>(a(i, k)) * b(k, j));
      result.add(sum.exact, sum.plain);
      result.order_free &= sum.order_free();
    }
  return result;
}

// The gradient of binary_residual (formats.md 3.9) for one value, in the arithmetic of T: dx, and dmean added to.
template <class T>
T residual_gradient(float x, T dxq, const Values& means, std::vector<T>& dmean) {
  std::vector<float> r{x}, s;
  for (const float m : means) {
    s.push_back(static_cast<float>((r.back() > 0) - (r.back() < 0)));
    r.push_back(r.back() - s.back() * std::abs(m));
  }
  T dr = 0;
  for (size_t l = means.size(); l-- > 0;) {
    const T d = dxq - dr;
    dmean[l] += d * s[l] * static_cast<float>((means[l] > 0) - (means[l] < 0));
    if (std::abs(r[l]) <= 1) dr += d * std::abs(means[l]);
  }
  return dr;
}

class LayerCheck {
 public:
  LayerCheck(Device& device, const SafeTensors& file, const nlohmann::json& entry) : file_(file), id_(entry.at("id")) {
    const auto format = [&](const char* key) { return parse_format(entry.value(key, "none")); };
    spec_ = {format("x"), format("w"), format("b"), format("y")};
    case_.x_shape = file.at(id_ + ".x").shape;
    case_.outputs = file.at(id_ + ".weight").shape.at(0);
    case_.x = values("x"), case_.weight = values("weight"), case_.bias = values("bias");
    case_.grad_y = values("grad_y"), case_.means = values("means");
    if (has("gamma")) case_.gamma = values("gamma").at(0);
    mpq_ = run_linear_case(device, case_, spec_);
  }

  // What differs, or nothing.
  std::string run() {
    forward();
    if (has("grad_y")) backward();
    return difference_;
  }

 private:
  void forward() {
    const int64_t K = case_.inputs();
    const auto x = [&](int64_t i, int64_t k) { return mpq_.xq[i * K + k]; };
    const auto w = [&](int64_t k, int64_t j) { return mpq_.wq[j * K + k]; };
    const Expected y = product(case_.rows(), case_.outputs, K, x, w, mpq_.bq);
    if (spec_.y == QuantSpec{})
      compare("y", mpq_.y, y);
    else
      compare_quantized("y", mpq_.y, y);
  }

  void backward() {
    const int64_t M = case_.rows(), N = case_.outputs, K = case_.inputs();
    const Values& dy = case_.grad_y;
    const auto dy_rows = [&](int64_t i, int64_t k) { return dy[i * N + k]; };
    const auto dy_columns = [&](int64_t i, int64_t k) { return dy[k * N + i]; };
    Expected dx = product(M, K, N, dy_rows, [&](int64_t k, int64_t j) { return mpq_.wq[k * K + j]; });
    Expected dw = product(N, K, M, dy_columns, [&](int64_t k, int64_t j) { return mpq_.xq[k * K + j]; });
    const Expected db = product(N, 1, M, dy_columns, [](int64_t, int64_t) { return 1.0f; });
    if (trained_count(spec_.x) > 0) trained_backward(dx, dw);
    compare("grad_x", mpq_.grad_x, dx);
    compare("grad_weight", mpq_.grad_weight, dw);
    compare("grad_bias", mpq_.grad_bias, db);
  }

  // dx and dw through the masks of x and the scale of w; means and gamma.
  void trained_backward(Expected& dx, Expected& dw) {
    Values means(trained_count(spec_.x));
    initial_trained(spec_.x, means.data());
    if (has("means")) means = case_.means;
    Expected dmeans, dgamma;
    dmeans.exact.resize(means.size()), dmeans.plain.resize(means.size());
    for (size_t i = 0; i < case_.x.size(); ++i) {
      dx.exact[i] = residual_gradient(case_.x[i], dx.exact[i], means, dmeans.exact);
      dx.plain[i] = residual_gradient(case_.x[i], dx.plain[i], means, dmeans.plain);
    }
    dgamma.add(0, 0);
    const float sign = static_cast<float>((case_.gamma > 0) - (case_.gamma < 0)), scale = std::abs(case_.gamma);
    for (size_t i = 0; i < case_.weight.size(); ++i) {
      const float w = case_.weight[i] >= 0 ? sign : -sign;
      dgamma.exact[0] += w * dw.exact[i], dgamma.plain[0] += w * dw.plain[i];
      dw.exact[i] *= scale, dw.plain[i] *= scale;
    }
    for (Expected* e : {&dx, &dw, &dmeans, &dgamma}) e->order_free = false;
    compare("grad_means", mpq_.grad_means, dmeans);
    compare("grad_gamma", mpq_.grad_gamma, dgamma);
  }

  bool has(const std::string& tensor) const { return file_.contains(id_ + "." + tensor); }
  Values values(const std::string& tensor) const { return has(tensor) ? file_.read_f32(id_ + "." + tensor) : Values{}; }

  void compare(const std::string& tensor, const Values& mpq, const Expected& expected) {
    const double tolerance = expected.tolerance();
    compare(
        tensor, mpq,
        [&](size_t, float a, float b) {
          return std::abs(static_cast<double>(a) - b) <= (expected.order_free ? 0 : std::max(tolerance, 4 * ulp(b)));
        },
        fmt::format("tolerance {:.3g}", tolerance));
  }
  // Two roundings of one sum may fall on two sides of a step: both must be what the tolerance allows.
  void compare_quantized(const std::string& tensor, const Values& mpq, const Expected& expected) {
    const double tolerance = expected.tolerance();
    auto shape = case_.x_shape;
    shape.back() = case_.outputs;
    QuantShape s{static_cast<int>(shape.size())};
    std::copy(shape.begin(), shape.end(), s.d);
    const auto bound = [&](double offset) {
      Values y;
      for (const double e : expected.exact) y.push_back(static_cast<float>(e + offset));
      quantize(spec_.y, Role::activation, s, y.data(), y.data());
      return y;
    };
    const Values low = bound(-tolerance), high = bound(tolerance);
    compare(
        tensor, mpq, [&](size_t i, float a, float b) { return low[i] <= std::min(a, b) && std::max(a, b) <= high[i]; },
        "quantized");
  }

  template <class Close>
  void compare(const std::string& tensor, const Values& mpq, const Close& close, const std::string& how) {
    if (!has(tensor) || !difference_.empty()) return;
    const Values expected = values(tensor);
    if (mpq.size() != expected.size())
      difference_ = fmt::format("{}.{}: {} values, expected {}", id_, tensor, mpq.size(), expected.size());
    for (size_t i = 0; i < mpq.size() && difference_.empty(); ++i) {
      const bool both_nan = std::isnan(mpq[i]) && std::isnan(expected[i]);
      if (!both_nan && mpq[i] != expected[i] && !close(i, mpq[i], expected[i]))
        difference_ = fmt::format("{}.{} [{}]: {:a}, expected {:a} ({})", id_, tensor, i, mpq[i], expected[i], how);
    }
  }

  const SafeTensors& file_;
  std::string id_, difference_;
  LinearSpec spec_;
  LinearCase case_;
  LinearResult mpq_;
};

}  // namespace

Result check_layers(const Setting& setting) {
  Result result{.group = "layers"};
  const auto list = setting.folder / "golden/layers.json";
  if (!std::filesystem::exists(list)) return result;
  result.found = true;
  const SafeTensors tensors(setting.folder / "golden/layers.safetensors");
  for (const auto& entry : nlohmann::json::parse(read_file(list))) {
    ++result.cases;
    std::string text;
    try {
      text = LayerCheck(setting.device, tensors, entry).run();
    } catch (const UserError& error) {
      text = fmt::format("{}: {}", entry.dump(), error.what());
    }
    if (!text.empty()) result.mismatch(text);
  }
  return result;
}

}  // namespace mpq::reference
