// Trains a classifier, in float or quantization-aware, and writes it as a Hugging Face folder; of several seeds, all of
// them side by side.
#include <fmt/format.h>

#include "app/commands.h"
#include "app/freeze_options.h"
#include "app/known_baseline.h"
#include "app/table.h"
#include "app/teacher_options.h"
#include "app/training_run.h"
#include "base/log.h"
#include "base/statistics.h"
#include "base/stop.h"
#include "base/text.h"

namespace mpq {
namespace {

struct Options {
  DataArgs data;
  TrainArgs train;
  FormatArgs formats;
  CalibrationArgs calibration;
  FreezeArgs freeze;
  LoraArgs lora;
  TeacherArgs teacher;
  MachineArgs machine;
  std::string out;
  bool resume = false;
  int shards = 1, seeds = 1;

  TrainArgs first_base() const {
    TrainArgs first = train;
    first.init = base_of(train, train.seed);
    return first;
  }
  RunRecipe recipe() const {
    return {.train = train,
            .formats = formats,
            .calibration = calibration,
            .freeze = freeze.patterns,
            .precision = machine.precision_in_recipe(),
            .adapter = lora.adapter,
            .shards = shards,
            .merge = lora.merge};
  }
  std::vector<RunModel> models(const Lora& adapters) const {
    std::vector<RunModel> models;
    for (int s = 0; s < seeds; ++s) {
      const uint64_t seed = train.seed + static_cast<uint64_t>(s);
      models.push_back({.seed = seed, .lora = adapters, .folder = for_seed(out, seed)});
    }
    return models;
  }
};

using Json = nlohmann::ordered_json;
Json number(const std::optional<double>& value) { return value ? Json(*value) : nullptr; }

Json to_json(const RunResult& result, const RunSpeed& speed, int64_t steps, const std::string& splits) {
  const auto baseline = known_baseline(splits);
  Json json{{"test_accuracy", number(result.test)},
            {"valid_accuracy", number(result.valid)},
            {"baseline_test_accuracy", number(baseline ? baseline->test.accuracy() : std::nullopt)},
            {"train_rows_per_s", speed.train_rows_per_s},
            {"eval_rows_per_s", speed.eval_rows_per_s},
            {"seconds", speed.seconds}};
  if (result.loss) json["final_loss"] = *result.loss;
  json["steps"] = steps;
  json["trained_parameters"] = result.trained_parameters;
  return json;
}

// Of several seeds: each one's numbers, and their means with 95 % intervals in place of one's.
struct Seeds {
  std::vector<RunModel> models;
  std::vector<RunResult> results;

  std::optional<Mean> mean(std::optional<double> RunResult::*accuracy) const {
    std::vector<double> values;
    for (const RunResult& r : results)
      if (r.*accuracy) values.push_back(*(r.*accuracy));
    return values.empty() ? std::nullopt : std::optional(mean_of(values));
  }
  void print_each() const {
    for (size_t r = 0; r < models.size(); ++r)
      print_json({{"seed", models[r].seed},
                  {"test_accuracy", number(results[r].test)},
                  {"valid_accuracy", number(results[r].valid)},
                  {"final_loss", number(results[r].loss)}});
  }
  void put_means_into(Json& json) const {
    json["seeds"] = models.size();
    for (const auto& [split, accuracy] : {std::pair{"test", &RunResult::test}, {"valid", &RunResult::valid}}) {
      const auto mean = this->mean(accuracy);
      if (!mean) continue;
      json[fmt::format("{}_accuracy", split)] = mean->mean;
      json[fmt::format("{}_low", split)] = mean->interval.low;
      json[fmt::format("{}_high", split)] = mean->interval.high;
    }
    json.erase("final_loss");
  }
};

void print_plan(const Setup& setup, const TrainingRun& run, const Options& options, const Devices& devices) {
  fmt::print(stderr, "{}\n{}\n", setup.data.description, describe(setup.config));
  if (run.model().adapters)
    fmt::print(stderr, "{}\n", describe_adapters(run.model(), run.replicas()[0].lora));
  else if (const int64_t frozen = run.model().parameters().frozen_count(); frozen > 0)
    fmt::print(stderr, "{} of these parameters are frozen\n", frozen);
  const std::string seeds = options.seeds > 1 ? fmt::format(", {} seeds side by side", options.seeds) : "";
  for (const auto& device : devices)
    fmt::print(stderr, "{}: {} steps of {} rows{}; {} of memory\n", device->describe(), run.steps(),
               options.train.batch, seeds, human_bytes(run.memory()));
  if (options.out.empty()) fmt::print(stderr, "nothing will be kept: name a folder with --out DIR\n");
}

// Two GPUs take a half of every batch each.
Devices open_devices(Options& options, const CommandLine& line) {
  Devices devices = options.machine.open_all();
  if (devices.size() > 2)
    throw UserError(fmt::format("--device {}: training takes one or two GPUs", options.machine.device),
                    "a batch is summed as two halves at most; mpq search takes more");
  if (devices.size() == 1) return devices;
  if (line.given("shards") && options.shards != 2)
    throw UserError(fmt::format("--shards {} on two GPUs", options.shards),
                    "two GPUs are --shards 2, or leave it away");
  options.shards = 2;
  return devices;
}

void check_seeds(const Options& options, const CommandLine& line) {
  options.lora.check_against(line);
  if (has_own_base(options.train) && !options.lora.adapter.empty())
    throw UserError("--adapter with a % in --init: it stands beside one base", "name that base");
  if (options.seeds == 1) return;
  if (!options.out.empty() && for_seed(options.out, 0) == options.out)
    throw UserError(fmt::format("--out {}: {} models would share it", options.out, options.seeds),
                    "a % in it stands for the seed, as in --out runs/%");
  if (options.shards > 1)
    throw UserError(fmt::format("--seeds {} in halves of a batch", options.seeds),
                    "one GPU and no --shards, or one seed at a time");
}

void declare(CommandLine& line, Options& options) {
  options.data.add_to(line);
  options.train.add_to(line);
  options.formats.add_to(line);
  options.calibration.add_to(line);
  options.freeze.add_to(line);
  options.lora.add_to(line);
  options.teacher.add_to(line);
  options.machine.add_to(line);
  line.group("Run");
  line.option("out", options.out, "DIR", "where the model goes; a % stands for the seed");
  line.option("seeds", options.seeds, "N",
              "--seed and the next ones side by side, of initialisation and dropout; --seed orders the rows for all",
              {.min = 1, .max = 1000});
  line.flag("resume", options.resume, "continue the unfinished run in --out, bit for bit");
  line.option("shards", options.shards, "N",
              "2: every batch's gradient is the sum of two halves', with the same bits on one device and on two; two "
              "GPUs imply it",
              {.min = 1, .max = 2});
}

void print(const Json& result, const std::string& splits) {
  for (const auto& [key, value] : result.items()) fmt::print("{:<22} {}\n", key, value.dump());
  fmt::print("{}\n", baseline_line(splits));
}

}  // namespace

int run_train(const Args& args) {
  Options options;
  CommandLine line("train",
                   "mpq train [data] [training] [--format SPEC] [--seeds N] [--out DIR] [--resume]\n\nTrains a "
                   "classifier from random weights or from --init DIR; "
                   "the defaults are the labs' recipe. With --format its\nLinears are quantized in every step "
                   "(quantization-aware training). A fifth of the "
                   "training data is held out for\nvalidation (--valid 0: none). The folder it writes is a Hugging "
                   "Face model; with --lora it is a folder of peft,\nunless --merge. Several seeds train as the "
                   "replicas of one session, for a mean and its 95 % interval; a % in --init stands\nfor the seed "
                   "there too.\n\nExample: mpq train --data imdb "
                   "--format \"integer(width=8,frac=4)\" --out runs/int8");
  declare(line, options);
  if (!line.parse(args)) return 0;
  if (options.resume) line.require({"out"});
  options.machine.apply();
  install_stop_signals();

  const Devices devices = open_devices(options, line);
  check_seeds(options, line);
  check_targets(options.models({}));
  Setup setup(options.teacher.with_unlabelled(options.data.options()), options.first_base(), options.lora.adapter);
  options.teacher.apply(setup, *devices[0]);
  const Adaptation adaptation = options.lora.resolve(setup.config, setup.adapter);
  const Seeds seeds{options.models(adaptation.loras[0]), {}};
  TrainingRun run(options.recipe(), setup, adaptation, seeds.models, devices);
  line.announce();
  print_plan(setup, run, options, devices);
  options.resume ? run.resume() : run.start();
  run.train();
  const Seeds done{seeds.models, run.evaluate()};
  Json result = to_json(done.results[0], run.speed(), run.steps(), setup.data.splits);
  if (options.seeds > 1) done.put_means_into(result);
  if (options.seeds > 1 && line.json()) done.print_each();
  line.json() ? print_json(result) : print(result, setup.data.splits);
  return 0;
}

}  // namespace mpq
