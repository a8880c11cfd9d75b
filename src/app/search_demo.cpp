#include "app/search_demo.h"

#include <fmt/format.h>

#include <filesystem>

#include "app/training.h"
#include "base/file.h"

namespace mpq {
namespace fs = std::filesystem;
namespace {

constexpr double kBaseEpochs = 4, kBaseRate = 1e-3, kTrialEpochs = 0.5, kTrialRate = 2.5e-4;

// The base model: trained longer and at a higher rate than the trials that start from it.
TrainArgs base_of(const TrainArgs& trial) {
  TrainArgs base = trial;
  base.epochs = kBaseEpochs;
  base.lr = kBaseRate;
  base.warmup = 0.1;
  return base;
}

std::string recipe_of(const Setup& setup, const TrainArgs& t, const MachineArgs& machine) {
  return fmt::format(
      "data {} model {} epochs {} batch {} lr {} warmup {} decay {} weight-decay {} dropout {} clip {} seed {}{}\n",
      setup.data.fingerprint, t.model, t.epochs, t.batch, t.lr, t.warmup, t.decay, t.weight_decay, t.dropout, t.clip,
      t.seed, machine.precision_in_recipe());
}

void train_base(const Setup& setup, const TrainArgs& base, Device& device, const fs::path& folder) {
  const Bert model(setup.config);
  const TrainPlan plan = plan_of(base);
  const Schedule schedule = schedule_of(base, plan.steps(setup.data.train.row_count()));
  const std::vector<LinearSpec> formats(model.linears().size());
  Session session(device, model, {{base.seed, schedule, formats}}, session_options(base, setup.data_options));
  start_weights(session, setup);
  train_with_progress(session, setup.data.train, plan, "training the base model", {});
  write_checkpoint(folder, session, 0, *setup.data.tokenizer, setup.checkpoint_info());
}

}  // namespace

bool is_demo(const SearchOptions& options) {
  return options.data.options().data == "synthetic" && options.train.init.empty() && !options.space.starts_with("nas");
}

void prepare_demo(SearchOptions& options, const CommandLine& line, Device& device) {
  const auto unless_given = [&](const char* name, auto& value, auto recipe) {
    if (!line.given(name)) value = recipe;
  };
  unless_given("model", options.train.model, std::string("2,64,2,128"));
  unless_given("batch", options.train.batch, 16);
  unless_given("dropout", options.train.dropout, 0.0);
  unless_given("epochs", options.train.epochs, kTrialEpochs);
  unless_given("lr", options.train.lr, kTrialRate);

  DataOptions data = options.data.options();
  data.merge_valid_into_train |= options.select == "test";
  const TrainArgs base = base_of(options.train);
  const Setup setup(data, base);
  const fs::path folder = fs::path(options.out) / "base", note = folder / "recipe.txt";
  const std::string recipe = recipe_of(setup, base, options.machine);
  if (!fs::exists(note) || read_file(note) != recipe) {
    train_base(setup, base, device, folder);
    write_file_atomic(note, recipe);  // last: without it the base is trained again
  }
  options.train.init = folder;
}

}  // namespace mpq
