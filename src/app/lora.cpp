// LoRA adapters of several ranks and seeds on one base, trained as the replicas of one session: what a rank buys.
#include <fmt/format.h>

#include <map>

#include "app/commands.h"
#include "app/figure.h"
#include "app/table.h"
#include "app/training_run.h"
#include "base/file.h"
#include "base/log.h"
#include "base/stop.h"
#include "base/text.h"

namespace mpq {
namespace {
namespace fs = std::filesystem;

struct Options {
  DataArgs data;
  TrainArgs train;
  FormatArgs formats;
  CalibrationArgs calibration;
  MachineArgs machine;
  std::string lora = "rank=1:2:4:8:16,alpha=16", seeds = "42", out;
  std::optional<double> control;
  bool resume = false;

  TrainArgs first_base() const {
    TrainArgs first = train;
    first.init = base_of(train, seed_list()[0]);
    return first;
  }
  RunRecipe recipe() const {
    return {.train = train, .formats = formats, .calibration = calibration, .precision = machine.precision_in_recipe()};
  }

  // One a seed and a rank.
  std::vector<RunModel> models() const {
    std::vector<RunModel> all;
    for (const uint64_t seed : seed_list())
      for (const Lora& adapters : parse_lora(lora).loras)
        all.push_back({.seed = seed, .lora = adapters, .folder = folder(seed, adapters)});
    return all;
  }

 private:
  std::vector<uint64_t> seed_list() const {
    std::vector<uint64_t> list;
    for (const std::string_view text : split(seeds, ',')) {
      const auto seed = parse_int(text);
      if (!seed || *seed < 0) throw UserError(fmt::format("--seeds {}: {} is no seed", seeds, text), "such as 1,2,3");
      list.push_back(static_cast<uint64_t>(*seed));
    }
    return list;
  }
  std::string folder(uint64_t seed, const Lora& adapters) const {
    if (out.empty()) return "";
    return (fs::path(out) / fmt::format("rank{}_alpha{:g}_seed{}", adapters.rank, adapters.alpha, seed)).string();
  }
};

struct Row {
  RunModel model;
  RunResult result;
};

std::string cell(const std::optional<double>& number) { return number ? fmt::format("{:.4f}", *number) : "-"; }

Table table_of(const std::vector<Row>& rows) {
  Table table{{"rank", "alpha", "seed", "trained parameters", "last loss", "valid", "test"}, {}};
  for (const Row& row : rows)
    table.add({std::to_string(row.model.lora.rank), fmt::format("{:g}", row.model.lora.alpha),
               std::to_string(row.model.seed), std::to_string(row.result.trained_parameters), cell(row.result.loss),
               cell(row.result.valid), cell(row.result.test)});
  return table;
}

// Mean over the seeds and its 95 % interval, a point a rank.
Curve curve_of(const std::vector<Row>& rows) {
  std::map<int, std::vector<double>> by_rank;
  for (const Row& row : rows)
    if (const auto accuracy = row.result.test ? row.result.test : row.result.valid)
      by_rank[row.model.lora.rank].push_back(*accuracy);
  Curve curve{.name = "LoRA, mean over seeds"};
  for (const auto& [rank, accuracies] : by_rank) add_mean(curve, rank, accuracies);
  return curve;
}

void draw(const Options& options, const std::vector<Row>& rows) {
  Figure figure{.title = fmt::format("LoRA on {}: accuracy against rank, {} epoch(s), 95 % interval over seeds",
                                     options.data.options().data, options.train.epochs),
                .x_title = "rank of the adapters",
                .y_title = rows[0].result.test ? "test accuracy" : "validation accuracy",
                .curves = {curve_of(rows)},
                .logarithmic_x = true};
  if (figure.curves[0].x.empty()) return;
  if (options.control) {
    const double last = figure.curves[0].x.back();
    figure.curves.push_back({.name = "all weights trained",
                             .x = {figure.curves[0].x.front(), last},
                             .y = {*options.control, *options.control},
                             .look = Curve::Look::control});
  }
  write_figure(figure, options.out, "accuracy_by_rank");
}

void add_options(CommandLine& line, Options& options) {
  options.data.add_to(line);
  options.train.add_to(line);
  options.formats.add_to(line);
  options.calibration.add_to(line);
  options.machine.add_to(line);
  line.group("Adapters");
  line.option("lora", options.lora, "SETTINGS",
              "several ranks, and one alpha or as many: rank=2:4:8,alpha=16,dropout=0.05,targets=query,value");
  line.option("seeds", options.seeds, "N[,N]", "of initialisation and dropout; --seed orders the rows, for all");
  line.option("control", options.control, "ACCURACY", "of all weights trained as long: a line in the figure");
  line.option("out", options.out, "DIR", "a folder of peft for each, lora.tsv and a figure");
  line.flag("resume", options.resume, "continue the unfinished sweep in --out, bit for bit");
}

}  // namespace

int run_lora(const Args& args) {
  Options options;
  CommandLine line(
      "lora",
      "mpq lora --init DIR [data] [training] [--lora SETTINGS] [--seeds N,N] [--out DIR]\n\nTrains low-rank "
      "adapters (LoRA) and the classifier on the frozen base --init: all ranks and seeds side by side, as\n"
      "the replicas of one session. Each has the bits that mpq train --lora gives it alone, with --seed for "
      "its seed if the\nseed is also the order's.\n\nExample: mpq lora --data imdb --init base --lora "
      "rank=2:4:8:16,alpha=16 --seeds 1,2,3 --out ranks");
  add_options(line, options);
  if (!line.parse(args)) return 0;
  line.require({"init"});
  if (options.resume) line.require({"out"});
  options.machine.apply();
  install_stop_signals();

  const std::vector<RunModel> models = options.models();
  check_targets(models);
  Devices devices;
  devices.push_back(options.machine.open());
  Setup setup(options.data.options(), options.first_base());
  TrainingRun run(options.recipe(), setup, adapt(setup.config, parse_lora(options.lora)), models, devices);
  line.announce();
  fmt::print(stderr, "{}\n{}: {} replicas; {} of memory\n", setup.data.description, devices[0]->describe(),
             models.size(), human_bytes(run.memory()));
  if (!options.out.empty()) make_folders(options.out);
  options.resume ? run.resume() : run.start();
  run.train();
  std::vector<Row> rows;
  for (const RunResult& result : run.evaluate()) rows.push_back({models[rows.size()], result});
  if (!options.out.empty()) {
    write_file_atomic(fs::path(options.out) / "lora.tsv", to_tsv(table_of(rows)));
    draw(options, rows);
  }
  if (!line.json()) fmt::print("{}", to_text(table_of(rows)));
  const auto number = [](const std::optional<double>& x) { return x ? nlohmann::ordered_json(*x) : nullptr; };
  for (const auto& [model, result] : rows)
    if (line.json())
      print_json({{"rank", model.lora.rank},
                  {"alpha", model.lora.alpha},
                  {"seed", model.seed},
                  {"trained_parameters", result.trained_parameters},
                  {"last_loss", number(result.loss)},
                  {"valid_accuracy", number(result.valid)},
                  {"test_accuracy", number(result.test)}});
  return 0;
}

}  // namespace mpq
