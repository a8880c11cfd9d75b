// mpq bench quantize: every number format over a large tensor, on one core.
#include <fmt/format.h>

#include "app/bench.h"
#include "base/philox.h"
#include "quant/quantize.h"

namespace mpq {
namespace {
using Json = nlohmann::ordered_json;

// Sums of uniforms: bell-shaped around 0, deviation 1, as activations are.
std::vector<float> bell_values(size_t count) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) {
    const Philox random = philox(static_cast<uint32_t>(i), 0, 0, 0, 3, 0);
    float sum = 0;
    for (uint32_t word : random.word) sum += to_uniform(word);
    values[i] = (sum - 2.0f) * 1.7320508f;
  }
  return values;
}

}  // namespace

BenchTables bench_quantize(const BenchContext& context) {
  const int64_t rows = context.quick ? 1 << 6 : 1 << 12, cols = 1 << 10;
  const std::vector<float> x = bell_values(static_cast<size_t>(rows * cols));
  std::vector<float> y(x.size());
  const OneThread one;
  const double copy = measure_copy(*open_device("cpu"), x.size() * sizeof(float), context.budget_s);
  BenchTable table{
      "quantize",
      fmt::format("an activation [1, {}, {}] on one core; the share is of memcpy's rate over the same tensor", rows,
                  cols)};
  for (const FormatInfo& format : format_list()) {
    if (format.samples.empty()) continue;
    const QuantSpec spec = parse_format(format.samples[0]);
    const Timing t = time_calls(context.budget_s, [&] {
      quantize(spec, Role::activation, {3, {1, rows, cols}}, x.data(), y.data());
    });
    const double values = static_cast<double>(x.size()) / t.median * 1e-9, gb = 8 * values;
    table.rows.push_back(
        {{"format", format.samples[0]}, {"gvalues_per_s", values}, {"gb_per_s", gb}, {"share", gb / copy}});
  }
  return {table};
}

}  // namespace mpq
