// Measures mpq on this machine, each rate beside the share of what the machine can do at best.
#include "app/bench.h"

#include <fmt/format.h>

#include <cmath>
#include <fstream>

#include "app/commands.h"
#include "app/table.h"
#include "base/file.h"
#include "base/nearest.h"
#include "base/parallel.h"
#include "base/philox.h"
#include "base/text.h"

namespace mpq {
namespace {
using Json = nlohmann::ordered_json;

struct Bench {
  const char* name;
  BenchTables (*run)(const BenchContext& context);
};
constexpr Bench benches[] = {{"kernels", bench_kernels},   {"train", bench_train},     {"eval", bench_eval},
                             {"trials", bench_trials},     {"qat", bench_qat},         {"follow", bench_follow},
                             {"quantize", bench_quantize}, {"formats", bench_formats}, {"tokenizer", bench_tokenizer},
                             {"sampler", bench_sampler},   {"startup", bench_startup}};

std::vector<std::string> bench_names() {
  std::vector<std::string> names;
  for (const Bench& bench : benches) names.push_back(bench.name);
  return names;
}

void check_names(const std::vector<std::string>& names) {
  const std::vector<std::string> known = bench_names();
  for (const std::string& name : names) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    const std::string near = nearest(name, known);
    throw UserError(fmt::format("mpq bench {}: no such benchmark", name),
                    near.empty() ? "allowed: " + join(known, ", ") : fmt::format("did you mean {}?", near));
  }
}

std::vector<int> read_lengths(const std::string& path, int max_tokens) {
  std::vector<int> lengths;
  const std::string text = read_file(path);
  int number = 0;
  for (std::string_view line : split(text, '\n')) {
    ++number;
    if (trim(line).empty()) continue;
    const auto length = parse_int(trim(line));
    if (!length || *length < 1)
      throw UserError(fmt::format("{}: line {}: \"{}\" is no token count", path, number, line),
                      "one whole number from 1 a line");
    lengths.push_back(static_cast<int>(std::min<int64_t>(*length, max_tokens)));
  }
  if (lengths.empty()) throw UserError(fmt::format("{}: holds no lengths", path), "one token count a line");
  return lengths;
}

// Lognormal, cut to 16 ... 512: mean and mean square within 0.3 % of those of the 25,000 IMDb training reviews (275.3
// and 95,212 after truncation at 512), which decide how much work linear layers and attention have.
std::vector<int> lognormal_lengths() {
  constexpr double mu = 5.51, sigma = 0.65;
  std::vector<int> lengths;
  for (uint32_t i = 0; i < 25000; ++i) {
    const Philox random = philox(i, 0, 0, 0, 1, 0);
    const double radius = std::sqrt(-2 * std::log(1.0 - static_cast<double>(to_uniform(random.word[0]))));
    const double normal = radius * std::cos(2 * M_PI * static_cast<double>(to_uniform(random.word[1])));
    lengths.push_back(static_cast<int>(std::lround(std::clamp(std::exp(mu + sigma * normal), 16.0, 512.0))));
  }
  return lengths;
}

Json cpu_ceiling(const BenchContext& c) {
  return {{"threads", c.threads},
          {"core_gflops", c.core.gflops},
          {"gflops", c.cpu.gflops},
          {"core_copy_gb_per_s", c.core.copy_gb},
          {"copy_gb_per_s", c.cpu.copy_gb}};
}

// The ceilings of the CPU and, where another device is asked for, of that one.
BenchTables measure_ceilings(BenchContext& c) {
  const size_t bytes = size_t{c.quick ? 8u : 128u} << 20;
  const auto cpu = open_device("cpu");
  c.cpu = c.ceiling = measure_ceiling(*cpu, c.budget_s, bytes);
  {
    const OneThread one;
    c.core = measure_ceiling(*cpu, c.budget_s, bytes);
  }
  BenchTables tables = {
      {"ceiling", "multiply-adds out of registers; memcpy, bytes read and written", Json::array({cpu_ceiling(c)})}};
  if (c.on_cpu()) return tables;
  const auto device = c.open();
  c.ceiling = measure_ceiling(*device, c.budget_s, bytes);
  tables.push_back(
      {"device_ceiling",
       "multiply-adds of the instruction that products here are made of (mma.sync), out of registers; fp32 "
       "is a third of TF32's rate, and products whose second terms are zero pass it; a copy, bytes read "
       "and written",
       Json::array(
           {{{"device", device->describe()}, {"gflops", c.ceiling.gflops}, {"copy_gb_per_s", c.ceiling.copy_gb}}})});
  return tables;
}

std::string cell(const std::string& key, const Json& value) {
  if (value.is_null()) return "-";
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_number_float()) return value.dump();
  const double x = value.get<double>();
  if (key.ends_with("share")) return fmt::format("{:.1f} %", 100 * x);
  return std::abs(x) >= 1000 ? fmt::format("{:.0f}", x) : fmt::format("{:.3g}", x);
}

Table to_table(const Json& rows) {
  Table table;
  for (const auto& [key, value] : rows.at(0).items()) table.header.push_back(key);
  for (const Json& row : rows) {
    std::vector<std::string> cells;
    for (const auto& [key, value] : row.items()) cells.push_back(cell(key, value));
    table.add(cells);
  }
  return table;
}

void print(const BenchTable& table) {
  fmt::print("\n{}: {}\n{}", table.name, table.note, to_text(to_table(table.rows)));
  std::fflush(stdout);
}

}  // namespace

int run_bench(const Args& args) {
  BenchContext context;
  std::vector<std::string> names;
  std::string model = "tiny", lengths;
  int threads = 0;
  CommandLine line("bench",
                   "mpq bench [NAME ...]\n\nMeasures this program on this machine: rates, and their share of the "
                   "ceiling (multiply-adds and copies) "
                   "that is\nmeasured in the same run. NAME: " +
                       join(bench_names(), ", ") +
                       "; without one, all of them.\n\n"
                       "Example: mpq bench train eval --lengths lengths.txt --json");
  line.positional("name", names, std::size(benches));
  line.option(
      "lengths", lengths, "FILE",
      "token counts of reviews, one a line; without it, a lognormal distribution with IMDb's mean and mean square");
  line.option("model", model, "NAME|L,H,A,F", "what train, eval, trials, qat and follow run");
  line.option("batch", context.batch, "N", "reviews a training step", {.min = 1, .max = 4096});
  line.option("replicas", context.replicas, "N", "replicas that train and trials run at once; rates count them all",
              {.min = 1, .max = 1024});
  line.option("format", context.format, "SPEC", "format of every Linear in train and trials");
  line.option("tokenizer", context.tokenizer, "FILE",
              "what tokenizer measures, and follow takes; without it, what suits the data");
  line.option("text", context.text, "FILE", "the text it tokenizes; without it, the built-in corpus");
  line.option("data", context.data, "PATH",
              "what follow trains on; without it, the built-in corpus. startup also opens its token cache");
  line.option("device", context.device, "cpu|cuda[:N]", "what runs train, eval, trials, qat, follow and formats");
  line.choice("precision", context.precision, {"fp32", "tf32", "bf16"}, "of their float operands in matrix products");
  line.option("threads", threads, "N", "CPU threads; 0: every CPU allowed", {.min = 0, .max = 4096});
  line.flag("quick", context.quick, "short measurements: whether it works, not how fast");
  if (!line.parse(args)) return 0;
  check_names(names);
  if (threads > 0) set_threads(threads);
  context.threads = mpq::threads();
  context.model = parse_model(model);
  context.lengths = lengths.empty() ? lognormal_lengths() : read_lengths(lengths, context.model.positions);
  context.lengths_from =
      lengths.empty() ? "lengths drawn from a lognormal distribution with IMDb's moments" : "lengths of " + lengths;
  if (context.quick) context.budget_s = 0.01;
  line.announce();

  Json result;
  for (const BenchTable& table : measure_ceilings(context)) {
    result[table.name] = table.rows[0];
    if (!line.json()) print(table);
  }
  for (const Bench& bench : benches) {
    if (!names.empty() && std::find(names.begin(), names.end(), bench.name) == names.end()) continue;
    for (const BenchTable& table : bench.run(context)) {
      result[table.name] = table.rows;
      if (!line.json()) print(table);
    }
  }
  if (line.json()) print_json(result);
  return 0;
}

}  // namespace mpq
