#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <numeric>

#include "app/bench.h"
#include "base/parallel.h"
#include "base/peak.h"

namespace mpq {
namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

double cpu_now() {
  timespec t{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

double median(std::vector<double> values) {
  const size_t middle = values.size() / 2;
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(middle), values.end());
  return values[middle];
}

// GFLOP/s of `threads` cores at once: the best of the repetitions, for nothing but the machine can slow this down.
double multiply_add_gflops(int threads, double budget_s) {
  constexpr int64_t flops = 60'000'000;  // half a millisecond: short enough to find a busy machine's quiet moments
  std::vector<float> results(static_cast<size_t>(threads));
  int64_t ran = 0;
  const Timing t = time_calls(budget_s, [&] {
    parallel_for(threads, [&](int64_t i) {
      float result = 0;
      const int64_t done = run_multiply_adds(flops, result);
      results[static_cast<size_t>(i)] = result;
      if (i == 0) ran = done;
    });
  });
  check(std::accumulate(results.begin(), results.end(), 0.0f) > 0, "the multiply-adds were not run");
  return static_cast<double>(ran) * threads / t.best * 1e-9;
}

}  // namespace

double measure_copy(int threads, size_t bytes, double budget_s) {
  std::vector<char> from(bytes, 1), to(bytes, 2);
  const size_t part = bytes / static_cast<size_t>(threads);
  const Timing t = time_calls(budget_s, [&] {
    parallel_for(threads, [&](int64_t i) {
      const size_t at = static_cast<size_t>(i) * part;
      std::memcpy(to.data() + at, from.data() + at, part);
    });
  });
  check(to[0] == 1, "the copy was not made");
  return 2.0 * static_cast<double>(part) * threads / t.best * 1e-9;
}

void Stopwatch::time(const std::function<void()>& body) {
  const double start = now(), cpu_start = cpu_now();
  body();
  seconds_.push_back(now() - start);
  cpu_seconds_.push_back(cpu_now() - cpu_start);
}

Timing Stopwatch::timing() const {
  check(!seconds_.empty(), "nothing was timed");
  return {median(seconds_), *std::min_element(seconds_.begin(), seconds_.end()), median(cpu_seconds_),
          std::accumulate(seconds_.begin(), seconds_.end(), 0.0), static_cast<int>(seconds_.size())};
}

Timing time_calls(double budget_s, const std::function<void()>& body) {
  body();
  Stopwatch stopwatch;
  const double end = now() + budget_s;
  for (int calls = 0; calls < 3 || now() < end; ++calls) stopwatch.time(body);
  return stopwatch.timing();
}

Ceiling measure_ceiling(double budget_s, size_t copy_bytes) {
  const int all = threads();
  return {multiply_add_gflops(1, budget_s), multiply_add_gflops(all, budget_s), measure_copy(1, copy_bytes, budget_s),
          measure_copy(all, copy_bytes, budget_s)};
}

}  // namespace mpq
