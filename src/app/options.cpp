#include "app/options.h"

#include "app/recipe_options.h"
#include "base/error.h"
#include "base/parallel.h"
#include "base/stop.h"
#include "base/text.h"

namespace mpq {
void DataArgs::add_to(CommandLine& line) {
  DataOptions& o = options_;
  line.group("Data");
  line.option(
      "data", o.data, "synthetic|imdb|PATH",
      "synthetic: the built-in corpus; imdb: the IMDb reviews; or an aclImdb folder or archive, a TSV, CSV or text "
      "file, compressed or not");
  line.option("tokenizer", o.tokenizer, "FILE|sentencepiece:N",
              "vocab.txt, tokenizer.json or a sentencepiece .model; or train N sentencepieces on the training split; "
              "without it, what suits the data");
  line.option("max-tokens", o.max_tokens, "N", "longer texts are truncated", {.min = 3, .max = 1 << 20});
  line.choice("truncate", truncate_, {"head", "head+tail"}, "which part of a long text stays");
  line.option("text-column", o.text_column, "NAME|POSITION", "the column that holds the text");
  line.option("label-column", o.label_column, "NAME|POSITION", "the column that holds the label");
  line.option("group-column", o.group_column, "NAME|POSITION", "rows of one group (a film) stay in one split");
  line.option("valid", valid_, "PATH|FRACTION",
              "the validation split: a file, or this share of the training rows; 0: none");
  line.option("test", o.test, "PATH", "the test split, where the data bring none");
  line.option("rows", o.rows, "N", "use only this many rows; 0: all", {.min = 0});
}

DataOptions DataArgs::options() const {
  DataOptions options = options_;
  options.truncate = truncate_ == "head" ? Truncate::Head : Truncate::HeadTail;
  options.merge_valid_into_train = parse_double(valid_) == 0.0;
  options.valid = options.merge_valid_into_train ? "" : valid_;
  return options;
}

void MachineArgs::add_to(CommandLine& line) {
  line.group("Machine");
  line.option("device", device, "cpu|cuda[:N[,N]]", "what computes; several GPUs in mpq search and mpq train");
  line.choice("precision", precision, {"fp32", "tf32", "bf16"},
              "how much of a float operand a matrix product sees; what a number format holds exactly loses nothing");
  line.option("threads", threads, "N", "CPU threads; 0: every CPU allowed", {.min = 0, .max = 4096});
  line.option("timeout", timeout, "SECONDS", "stop cleanly after this time, everything resumable; 0: never",
              {.min = 0});
}

void MachineArgs::apply() const {
  if (threads > 0) set_threads(threads);
  stop_after(timeout);
}

std::unique_ptr<Device> MachineArgs::open() const { return open_device(device, parse_precision(precision)); }

Devices MachineArgs::open_all() const { return open_devices(device, parse_precision(precision)); }

std::string MachineArgs::precision_in_recipe() const { return precision == "fp32" ? "" : " precision " + precision; }

void TrainArgs::add_to(CommandLine& line) {
  line.group("Training");
  line.option("model", model, "NAME|L,H,A,F",
              "tiny, mini, small, medium, base, or layers,hidden,heads,ffn; random weights unless --init");
  line.option("init", init, "DIR", "start from this checkpoint (the model's shape is then the checkpoint's)");
  line.option("epochs", epochs, "N", "passes over the training split; 0: no training", {.min = 0, .max = 1e6});
  line.option("batch", batch, "N", "reviews a step", {.min = 1, .max = 1 << 20});
  add_recipe(line, *this);
  line.option("quantize-after", quantize_after, "SHARE", "share of the steps that train in float, before the formats",
              {.min = 0, .below = 1});
  line.option("seed", seed, "N", "seeds initialisation, order and dropout", {.max = 4294967295.0});
  line.option("checkpoint-every", checkpoint_every, "STEPS", "write a resumable checkpoint; 0: at the end only",
              {.min = 0});
}

std::string TrainArgs::recipe() const {
  return fmt::format("epochs {} batch {} lr {} warmup {} decay {} weight-decay {} dropout {} clip {} seed {}{}", epochs,
                     batch, lr, warmup, decay, weight_decay, dropout, clip, seed,
                     quantize_after > 0 ? fmt::format(" quantize-after {}", quantize_after) : "");
}

std::string for_seed(const std::string& path, uint64_t seed) {
  std::string filled;
  for (const char c : path) c == '%' ? void(filled += std::to_string(seed)) : filled.push_back(c);
  return filled;
}

bool has_own_base(const TrainArgs& train) { return train.init.find('%') != std::string::npos; }

std::string base_of(const TrainArgs& train, uint64_t seed) { return for_seed(train.init, seed); }

}  // namespace mpq
