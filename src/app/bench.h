// What every part of `mpq bench` shares: the clock, the machine's ceiling, and how results are reported.
#pragma once
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "nn/bert.h"
#include "tensor/device.h"

namespace mpq {

// Seconds of one call, over the repetitions. CPU seconds count all threads: they tell a slow call from a busy machine.
struct Timing {
  double median = 0, best = 0, cpu = 0;  // cpu: the median of the calls' CPU seconds
  double total = 0;                      // wall, of all repetitions
  int repetitions = 0;
};

// One call to warm up, then calls until `budget_s` seconds have passed, at least three.
Timing time_calls(double budget_s, const std::function<void()>& body);

// Collects calls that the caller times one by one (to let two jobs take turns).
class Stopwatch {
 public:
  void time(const std::function<void()>& body);
  Timing timing() const;

 private:
  std::vector<double> seconds_, cpu_seconds_;
};

// What a device can do at best, measured in the same run.
struct Ceiling {
  double gflops = 0;   // multiply-adds out of registers, as products of floats do them in the device's precision
  double copy_gb = 0;  // GB/s of a copy between buffers that no cache holds, reads and writes counted
};
Ceiling measure_ceiling(Device& device, double budget_s, size_t copy_bytes);
// GB/s, reads and writes counted, of copying so many bytes again and again.
double measure_copy(Device& device, size_t bytes, double budget_s);

// The CPU with one thread, for a scope.
class OneThread {
 public:
  OneThread();
  ~OneThread();
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_;
};

struct BenchContext {
  bool quick = false;
  double budget_s = 0.3;  // of one short measurement
  std::string device = "cpu", precision = "fp32";
  int threads = 1;
  BertConfig model;
  int batch = 8, replicas = 1;
  std::string format = "none";  // of every Linear in train
  std::vector<int> lengths;     // token counts of reviews
  std::string lengths_from;     // where they come from
  std::string tokenizer, text, data;
  Ceiling core, cpu, ceiling;  // of one core, of all threads, of `device`

  std::unique_ptr<Device> open() const { return open_device(device, parse_precision(precision)); }
  bool on_cpu() const { return device == "cpu"; }
};

// A table of results: one flat JSON object a row, all with the same keys. --json prints it as it is, people get the
// columns; a key that ends in "share" is printed in percent.
struct BenchTable {
  std::string name, note;
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
};
using BenchTables = std::vector<BenchTable>;

BenchTables bench_kernels(const BenchContext& context);
BenchTables bench_train(const BenchContext& context);
BenchTables bench_eval(const BenchContext& context);
BenchTables bench_trials(const BenchContext& context);
BenchTables bench_qat(const BenchContext& context);
BenchTables bench_follow(const BenchContext& context);
BenchTables bench_quantize(const BenchContext& context);
BenchTables bench_formats(const BenchContext& context);
BenchTables bench_tokenizer(const BenchContext& context);
BenchTables bench_sampler(const BenchContext& context);
BenchTables bench_startup(const BenchContext& context);

}  // namespace mpq
