#include <time.h>

#include <algorithm>
#include <chrono>
#include <numeric>

#include "app/bench.h"

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

}  // namespace

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

}  // namespace mpq
