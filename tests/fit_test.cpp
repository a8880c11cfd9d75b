// The scale that suits some values: against a naive search over all scales, and what a user may write.
#include "quant/fit.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "base/error.h"
#include "quant/quantize.h"

namespace mpq {
namespace {

double naive_error(const QuantSpec& spec, const std::vector<float>& x) {
  std::vector<float> q(x.size());
  quantize(spec, Role::weight, {1, {static_cast<int64_t>(x.size()), 1, 1}}, x.data(), q.data());
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) sum += (double{x[i]} - q[i]) * (double{x[i]} - q[i]);
  return sum;
}

double range_of(const QuantSpec& spec) {
  const float huge = 3e38f;
  float top = 0;
  quantize(spec, Role::weight, {1, {1, 1, 1}}, &huge, &top);
  return top;
}

QuantSpec naive_fit(const QuantSpec& spec, const std::vector<float>& x, FitRule rule) {
  const ScaleKey key = scale_key(spec).value();
  double largest = 0, least = INFINITY, narrowest = INFINITY;
  for (const float v : x) largest = std::max(largest, std::abs(double{v}));
  QuantSpec best = spec;
  for (int scale = key.min; scale <= key.max; ++scale) {
    const QuantSpec candidate = with_scale(spec, scale);
    const bool needlessly_wide = scale < key.max && range_of(with_scale(spec, scale + 1)) >= largest;
    if (spec.format == Format::minifloat_denorm && needlessly_wide) continue;
    if (rule == FitRule::mse) {
      const double error = naive_error(candidate, x);
      if (error < least) least = error, best = candidate;
    } else if (const double range = range_of(candidate); range >= largest && range <= narrowest) {
      narrowest = range, best = candidate;
    }
  }
  return best;
}

std::vector<float> normal(double deviation, double outlier, unsigned seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> draw(0, static_cast<float>(deviation));
  std::vector<float> x(500);
  for (float& v : x) v = draw(engine);
  x[17] = static_cast<float>(outlier);
  return x;
}

TEST(Fit, FindsWhatANaiveSearchOverAllScalesFinds) {
  for (const char* text :
       {"integer(width=2,frac=0)", "integer(width=4,frac=0)", "integer(width=8,frac=0)", "integer(width=32,frac=0)",
        "integer(width=5,frac=0,round=floor)", "log(width=4,bias=0)", "log(width=8,bias=0)",
        "minifloat_ieee(width=5,exponent=2,bias=0)", "minifloat_ieee(width=8,exponent=4,bias=0)",
        "minifloat_denorm(width=4,exponent=2,bias=0)", "minifloat_denorm(width=8,exponent=4,bias=0)"}) {
    const QuantSpec spec = parse_format(text);
    unsigned seed = 0;
    for (const double deviation : {1e-3, 0.04, 1.0, 30.0})
      for (const double outlier : {0.0, 1.0, -1.0, 7.5, -100.0}) {
        const std::vector<float> x = normal(deviation, outlier * deviation, ++seed);
        const QuantSpec chosen = fit(spec, x, FitRule::mse), exact = naive_fit(spec, x, FitRule::mse);
        EXPECT_EQ(naive_error(chosen, x), naive_error(exact, x))
            << to_text(chosen) << " " << to_text(exact) << " " << deviation << " " << outlier;
        EXPECT_EQ(to_text(fit(spec, x, FitRule::max)), to_text(naive_fit(spec, x, FitRule::max)));
      }
  }
}

TEST(Fit, MaxHoldsEveryValue) {
  const std::vector<float> x{0.1f, -0.8f, 0.874f};
  EXPECT_EQ(to_text(fit(parse_format("integer(width=4,frac=0)"), x, FitRule::max)), "integer(width=4,frac=3)");
  EXPECT_EQ(to_text(fit(parse_format("integer(width=8,frac=0)"), x, FitRule::max)), "integer(width=8,frac=7)");
}

TEST(Fit, ZerosAreScaledAsIfTheyReachedOne) {
  for (const FitRule rule : {FitRule::max, FitRule::mse})
    EXPECT_EQ(to_text(fit(parse_format("integer(width=8,frac=0)"), std::vector<float>(9, 0.0f), rule)),
              "integer(width=8,frac=6)");
}

TEST(Fit, ANarrowFormatKeepsMostOfTheSignal) {  // where frac = width / 2 keeps nothing
  const std::vector<float> x = normal(0.04, 0.2, 5);
  double power = 0;
  for (const float v : x) power += double{v} * v;
  EXPECT_LT(naive_error(fit(parse_format("integer(width=4,frac=0)"), x, FitRule::mse), x), 0.05 * power);
  EXPECT_GT(naive_error(parse_open_format("integer(width=4,frac=half)").spec, x), 0.9 * power);
}

TEST(OpenFormats, TextsWithAutoAndHalf) {
  const OpenFormat half = parse_open_format("integer(width=12, frac=half)");
  EXPECT_FALSE(half.open);
  EXPECT_EQ(to_text(half.spec), "integer(width=12,frac=6)");
  EXPECT_TRUE(parse_open_format("integer(frac=auto,width=4)").open);
  EXPECT_TRUE(parse_open_format("log(width=4,bias=auto)").open);
  EXPECT_FALSE(parse_open_format("log(width=4)").open);
  const OpenLinear linear = parse_open_linear("x=integer(width=8,frac=auto);w=none;b=integer(width=8,frac=half)");
  EXPECT_TRUE(linear.x.open && !linear.w.open && !linear.b.open);
  EXPECT_EQ(to_text(parse_open_linear("integer(width=8,frac=half)").closed()), "integer(width=8,frac=4)");
}

TEST(OpenFormats, ImpossibleTextsAreUserErrors) {
  for (const char* text : {"integer(width=auto,frac=4)", "integer(width=half,frac=2)", "log(width=4,bias=half)",
                           "block_fp(width=8,exponent=auto,block=16)", "mxint(width=auto)",
                           "integer(width=8,frac=best)", "integer(width=40,frac=auto)", "integer(width=40,frac=half)"})
    EXPECT_THROW(parse_open_format(text), UserError) << text;
  EXPECT_THROW(parse_open_linear("x=none;w=none;b=none;y=integer(width=8,frac=auto)"), UserError);
  EXPECT_THROW(parse_linear_spec("integer(width=8,frac=auto)"), UserError);
  EXPECT_THROW(parse_fit_rule("median"), UserError);
}

}  // namespace
}  // namespace mpq
