// Texts in, one a line; labels and probabilities out.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>

#include "app/commands.h"
#include "app/format_options.h"
#include "app/lora_options.h"
#include "app/options.h"
#include "app/text_lines.h"
#include "base/statistics.h"
#include "base/stop.h"
#include "data/loader.h"
#include "train/checkpoint.h"
#include "train/ngram_classifier.h"

namespace mpq {
namespace {

struct Options {
  std::string checkpoint, in;
  AdapterArgs adapter;
  FormatArgs formats;
  MachineArgs machine;
};

void print(const std::vector<std::string>& labels, std::span<const float> logits, bool json) {
  const std::string& label = labels[std::max_element(logits.begin(), logits.end()) - logits.begin()];
  const std::vector<double> p = softmax(logits);
  if (json)
    print_json({{"label", label}, {"probabilities", p}, {"logits", std::vector<float>(logits.begin(), logits.end())}});
  else
    fmt::print("{}\t{:.6f}\n", label, fmt::join(p, " "));
}

using Score = std::function<std::vector<float>(const std::vector<std::string>& texts)>;  // logits [texts * classes]

void predict(TextLines& lines, const std::vector<std::string>& labels, const Score& score, bool json) {
  const size_t classes = labels.size();
  for (auto texts = lines.next(); !texts.empty(); texts = lines.next()) {
    if (stop_requested()) throw Stopped("mpq predict");
    const std::vector<float> logits = score(texts);
    for (size_t row = 0; row < texts.size(); ++row)
      print(labels, std::span(logits).subspan(row * classes, classes), json);
    std::fflush(stdout);
  }
}

Split tokenized(const std::vector<std::string>& texts, const Checkpoint& checkpoint, const Tokenizer& tokenizer) {
  Split split;
  std::vector<int32_t> ids;
  for (const std::string& text : texts) {
    ids.clear();
    tokenizer.append_ids(text, ids);
    append_row(ids, tokenizer.special(), checkpoint.max_tokens, checkpoint.truncate, split.tokens);
    split.row_starts.push_back(static_cast<int64_t>(split.tokens.size()));
    split.labels.push_back(0);
  }
  return split;
}

void predict_with_bert(const Options& options, const CommandLine& line) {
  Checkpoint checkpoint = read_checkpoint(options.checkpoint);
  const auto adapter = options.adapter.read(checkpoint);
  require_head(checkpoint);
  const auto tokenizer = open_tokenizer(options.checkpoint);
  check_vocabulary(checkpoint, *tokenizer);
  const Bert model(checkpoint.config, plan_of(adapter));
  const std::vector<LinearSpec> formats = options.formats.resolve(model, checkpoint.formats);
  TextLines lines(options.in);
  line.announce();

  const auto device = options.machine.open();
  Session session(
      *device, model, {{.formats = formats, .pruning = checkpoint.pruning, .lora = lora_of(adapter)}},
      {.eval_rows = static_cast<int>(TextLines::at_once), .max_tokens = checkpoint.max_tokens, .training = false});
  load_into(session, 0, checkpoint);
  if (adapter) load_adapter(session, 0, *adapter);
  const auto score = [&](const std::vector<std::string>& texts) {
    std::vector<int64_t> rows(texts.size());
    std::iota(rows.begin(), rows.end(), 0);
    return session.logits(make_batch(tokenized(texts, checkpoint, *tokenizer), rows))[0];
  };
  predict(lines, checkpoint.labels, score, line.json());
}

// The logarithms of its probabilities stand for logits: softmax gives the probabilities back.
void predict_with_ngrams(const Options& options, const CommandLine& line) {
  const NgramClassifier classifier = read_ngram_classifier(options.checkpoint);
  TextLines lines(options.in);
  line.announce();
  const auto score = [&](const std::vector<std::string>& texts) {
    std::vector<float> logits;
    for (const double p : classifier.probabilities(texts)) logits.push_back(static_cast<float>(std::log(p)));
    return logits;
  };
  predict(lines, classifier.labels, score, line.json());
}

}  // namespace

int run_predict(const Args& args) {
  Options options;
  CommandLine line(
      "predict",
      "mpq predict --checkpoint DIR [--in FILE] [--format FORMAT]\n\nReads one text a line and prints its "
      "label, a tab, and the probability of every label in the\ncheckpoint's order; with --json one object "
      "a line with label, probabilities and logits.\nThe number formats are the checkpoint's unless "
      "--format says otherwise.\n\nExample: echo \"not good, not even bad\" | mpq predict --checkpoint "
      "runs/imdb --format \"integer(width=8,frac=4)\"");
  line.option("checkpoint", options.checkpoint, "DIR", "folder that mpq train, mpq baseline or save_pretrained wrote");
  line.option("in", options.in, "FILE", "texts to label; without it standard input");
  options.adapter.add_to(line);
  options.formats.add_to(line);
  options.machine.add_to(line);
  if (!line.parse(args)) return 0;
  line.require({"checkpoint"});
  options.machine.apply();
  if (!options.adapter.folder.empty() && is_ngram_classifier(options.checkpoint))
    throw UserError(fmt::format("--adapter: {} holds no BERT", options.checkpoint),
                    "an adapter stands beside its base");

  is_ngram_classifier(options.checkpoint) ? predict_with_ngrams(options, line) : predict_with_bert(options, line);
  return 0;
}

}  // namespace mpq
