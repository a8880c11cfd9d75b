// What a device can do at best: the same two loops on every one.
#include <algorithm>
#include <limits>

#include "app/bench.h"
#include "base/parallel.h"

namespace mpq {
namespace {

// A device's seconds for `work`: the best of the repetitions, for nothing but the machine can slow this down.
double best_seconds(Device& device, double budget_s, const std::function<void()>& work) {
  double best = std::numeric_limits<double>::infinity();
  time_calls(budget_s, [&] { best = std::min(best, device.time(work).seconds); });
  return best;
}

}  // namespace

double measure_copy(Device& device, size_t bytes, double budget_s) {
  bytes = std::max<size_t>(bytes / 64, 1) * 64;
  const DeviceMemory memory(device, 2 * bytes);
  Arena arena = memory.arena();
  void *to = arena.take(bytes), *from = arena.take(bytes);
  const std::vector<char> ones(bytes, 1);
  device.copy_in(from, ones.data(), bytes);
  const double seconds = best_seconds(device, budget_s, [&] { device.run_copy(to, from, bytes); });
  char last = 0;
  device.copy_out(&last, static_cast<char*>(to) + bytes - 1, 1);
  check(last == 1, "the copy was not made");
  return 2.0 * static_cast<double>(bytes) / seconds * 1e-9;
}

Ceiling measure_ceiling(Device& device, double budget_s, size_t copy_bytes) {
  double flops = 0;
  const double seconds = best_seconds(device, budget_s, [&] { flops = device.run_multiply_adds(); });
  return {flops / seconds * 1e-9, measure_copy(device, copy_bytes, budget_s)};
}

OneThread::OneThread() : before_(threads()) { set_threads(1); }
OneThread::~OneThread() { set_threads(before_); }

}  // namespace mpq
