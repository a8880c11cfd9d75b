// mpq bench formats: every float32 bit pattern through every elementwise number format of --device, against the CPU.
#include <fmt/format.h>

#include <atomic>
#include <bit>
#include <chrono>
#include <cmath>

#include "app/bench.h"
#include "base/parallel.h"
#include "quant/linear_spec.h"
#include "quant/quantize.h"

namespace mpq {
namespace {
using Clock = std::chrono::steady_clock;

// Patterns are quantized a slice at a time, as rows of a matrix; the CPU's part is shared out by rows.
constexpr int64_t kCols = 1024;

std::vector<QuantSpec> elementwise_formats() {
  std::vector<QuantSpec> specs = known_formats();
  std::erase_if(specs, [](const QuantSpec& spec) { return reach(spec, Role::activation) != Reach::element; });
  return specs;
}

// Which patterns are tried: all 2^32, or 2^22 in even steps, so that every exponent has 8,192, with low bits at random.
struct Patterns {
  bool all;
  int64_t count() const { return int64_t{1} << (all ? 32 : 22); }
  int64_t slice() const { return int64_t{1} << (all ? 24 : 22); }
  float operator()(int64_t i) const {
    const auto n = static_cast<uint32_t>(i);
    return std::bit_cast<float>(all ? n : n << 10 | n * 2654435761u >> 22);
  }
};

bool same(float a, float b) {
  return (std::isnan(a) && std::isnan(b)) || std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b);
}

// A slice in the device's memory, and its quantized copy in one format.
class Slice {
 public:
  Slice(Device& device, int64_t rows, const std::vector<QuantSpec>& specs)
      : device_(device), rows_(rows), memory_(device, bytes(specs.size())) {
    Arena arena = memory_.arena();
    allocate(arena, specs.size());
    const int32_t starts[] = {0, static_cast<int32_t>(rows)};
    device.copy_in(starts_, starts, sizeof(starts));
    device.copy_in(specs_, specs.data(), specs.size() * sizeof(QuantSpec));
  }

  void set(const std::vector<float>& values) { device_.copy_in(x_.data, values.data(), values.size() * sizeof(float)); }
  void quantize(size_t format) {
    QuantizedCopies copies;
    copies.add({{.specs = specs_ + format}, xq_});
    device_.ops().quantize_copies(copies, x_, {starts_, 1, rows_, static_cast<int32_t>(rows_)});
  }
  void get(std::vector<float>& values) { device_.copy_out(values.data(), xq_.data, values.size() * sizeof(float)); }

 private:
  size_t bytes(size_t formats) {
    Arena measure;
    allocate(measure, formats);
    return measure.peak();
  }
  void allocate(Arena& arena, size_t formats) {
    x_ = arena.tensor({rows_, kCols});
    xq_ = arena.tensor({rows_, kCols});
    starts_ = arena.array<int32_t>(2);
    specs_ = arena.array<QuantSpec>(static_cast<int64_t>(formats));
  }

  Device& device_;
  const int64_t rows_;
  Tensor x_, xq_;
  int32_t* starts_ = nullptr;
  QuantSpec* specs_ = nullptr;
  DeviceMemory memory_;
};

// Values where the device differs from the CPU.
int64_t mismatches(const QuantSpec& spec, Simd isa, const std::vector<float>& x, const std::vector<float>& y) {
  std::atomic<int64_t> count = 0;
  constexpr int64_t rows = 16, values = rows * kCols;
  parallel_for(static_cast<int64_t>(x.size()) / values, [&](int64_t task) {
    std::vector<float> expected(values);
    const int64_t first = task * values;
    quantize(spec, Role::activation, {3, {1, rows, kCols}}, &x[first], expected.data(), nullptr, isa);
    int64_t here = 0;
    for (int64_t i = 0; i < values; ++i) here += !same(y[first + i], expected[i]);
    count += here;
  });
  return count;
}

struct Tally {
  int64_t mismatches = 0;
  double seconds = 0;  // the device's, its copies and the CPU's
};

}  // namespace

BenchTables bench_formats(const BenchContext& context) {
  const auto device = context.open();
  const Patterns patterns{!context.quick};
  const std::vector<QuantSpec> specs = elementwise_formats();
  const Simd isa = context.on_cpu() ? Simd::avx2 : simd();
  Slice slice(*device, patterns.slice() / kCols, specs);
  std::vector<float> x(patterns.slice()), y(x.size());
  std::vector<Tally> tallies(specs.size());
  for (int64_t first = 0; first < patterns.count(); first += patterns.slice()) {
    parallel_for(patterns.slice() / kCols, [&](int64_t row) {
      for (int64_t i = row * kCols; i < (row + 1) * kCols; ++i) x[i] = patterns(first + i);
    });
    slice.set(x);
    for (size_t f = 0; f < specs.size(); ++f) {
      const auto start = Clock::now();
      slice.quantize(f);
      slice.get(y);
      tallies[f].mismatches += mismatches(specs[f], isa, x, y);
      tallies[f].seconds += std::chrono::duration<double>(Clock::now() - start).count();
    }
  }

  BenchTable table{"formats",
                   fmt::format("bit patterns of float32 on {} against the CPU's kernels for {}; seconds of the whole "
                               "check, rate of the device alone",
                               context.device, to_text(isa))};
  for (size_t f = 0; f < specs.size(); ++f) {
    const double seconds = device->time([&] { slice.quantize(f); }).seconds;
    table.rows.push_back({{"format", to_text(specs[f])},
                          {"patterns", patterns.count()},
                          {"mismatches", tallies[f].mismatches},
                          {"seconds", tallies[f].seconds},
                          {"gvalues_per_s", static_cast<double>(patterns.slice()) / seconds * 1e-9}});
  }
  return {table};
}

}  // namespace mpq
