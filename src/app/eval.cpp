// Evaluates a checkpoint on a split, in float or with any number format (post-training quantization).
#include <fmt/format.h>

#include "app/calibration_options.h"
#include "app/commands.h"
#include "app/format_options.h"
#include "app/lora_options.h"
#include "app/table.h"
#include "app/training.h"
#include "base/statistics.h"
#include "base/stop.h"

namespace mpq {
namespace {

nlohmann::ordered_json summary(const Evaluation& e, const std::vector<std::string>& labels) {
  const auto matrix = confusion(e, static_cast<int>(labels.size()));
  const Interval interval = wilson_interval(e.correct(), static_cast<int64_t>(e.labels.size()));
  return {
      {"accuracy", e.accuracy()}, {"low", interval.low},     {"high", interval.high}, {"macro_f1", macro_f1(matrix)},
      {"loss", e.loss},           {"rows", e.labels.size()}, {"labels", labels},      {"confusion", matrix}};
}

void print(const nlohmann::ordered_json& s, const std::vector<std::string>& labels) {
  fmt::print("accuracy  {:.4f}  (95 % interval {:.4f} to {:.4f}, {} rows)\nmacro F1  {:.4f}\nloss      {:.4f}\n\n",
             s["accuracy"].get<double>(), s["low"].get<double>(), s["high"].get<double>(), s["rows"].get<int64_t>(),
             s["macro_f1"].get<double>(), s["loss"].get<double>());
  Table table{{"label \\ predicted"}, {}};
  table.header.insert(table.header.end(), labels.begin(), labels.end());
  for (size_t i = 0; i < labels.size(); ++i) {
    std::vector<std::string> row{labels[i]};
    for (const auto& n : s["confusion"][i]) row.push_back(n.dump());
    table.add(row);
  }
  fmt::print("{}", to_text(table));
}

// The split with the data's labels renumbered as the checkpoint has them.
Split in_order_of(const std::vector<std::string>& labels, const Dataset& data, Split split, const std::string& folder) {
  for (int32_t& label : split.labels) {
    const auto at = std::find(labels.begin(), labels.end(), data.label_names[label]);
    if (at == labels.end())
      throw UserError(
          fmt::format("the data has the label {}, the checkpoint {} does not", data.label_names[label], folder),
          fmt::format("the checkpoint's labels: {}", fmt::join(labels, ", ")));
    label = static_cast<int32_t>(at - labels.begin());
  }
  return split;
}

}  // namespace

int run_eval(const Args& args) {
  DataArgs data_args;
  FormatArgs format_args;
  AdapterArgs adapter_args;
  CalibrationArgs calibration;
  MachineArgs machine;
  std::string folder, split_name = "test";
  CommandLine line("eval",
                   "mpq eval --checkpoint DIR [data] [--split valid|test] [--format SPEC]\n\nAccuracy with its 95 % "
                   "interval, macro F1 and the confusion "
                   "matrix of a checkpoint on a split. With --format its\nLinears are quantized without training "
                   "(PTQ); without it they keep the "
                   "checkpoint's formats.\n\nExample: mpq eval --checkpoint runs/imdb --data imdb --format "
                   "\"block_fp(width=6,exponent=8,block=1x16)\"");
  line.option("checkpoint", folder, "DIR", "folder that mpq train or save_pretrained wrote");
  adapter_args.add_to(line);
  line.choice("split", split_name, {"valid", "test"}, "which rows");
  data_args.add_to(line);
  format_args.add_to(line);
  calibration.add_to(line);
  machine.add_to(line);
  if (!line.parse(args)) return 0;
  line.require({"checkpoint"});
  machine.apply();
  install_stop_signals();

  Checkpoint checkpoint = read_checkpoint(folder);
  const auto adapter = adapter_args.read(checkpoint);
  require_head(checkpoint);
  DataOptions data_options = data_args.options();
  if (data_options.tokenizer.empty()) data_options.tokenizer = folder;
  if (!line.given("max-tokens")) data_options.max_tokens = checkpoint.max_tokens;
  if (!line.given("truncate")) data_options.truncate = checkpoint.truncate;
  const auto device = machine.open();
  const Dataset data = load_dataset(data_options);
  check_vocabulary(checkpoint, *data.tokenizer);
  const Split split = in_order_of(checkpoint.labels, data, split_name == "test" ? data.test : data.valid, folder);
  if (split.row_count() == 0)
    throw UserError(fmt::format("--split {}: the data has no such split", split_name),
                    "--test PATH or --valid PATH|FRACTION bring one");
  const Bert model(checkpoint.config, plan_of(adapter));
  const ClosedFormats formats =
      calibration.close({format_args.parse(model, checkpoint.formats)}, *device, model, data_options.max_tokens,
                        data.train, 0, [&](Session& session) { load_into(session, 0, checkpoint); })[0];
  line.announce();

  Session session(*device, model, {{.formats = formats, .pruning = checkpoint.pruning, .lora = lora_of(adapter)}},
                  {.max_tokens = data_options.max_tokens, .training = false});
  load_into(session, 0, checkpoint);
  if (adapter) load_adapter(session, 0, *adapter);
  const auto result = summary(evaluate_with_progress(session, split, "evaluating " + split_name)[0], checkpoint.labels);
  if (line.json())
    print_json(result);
  else
    print(result, checkpoint.labels);
  return 0;
}

}  // namespace mpq
