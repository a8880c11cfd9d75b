// Texts in, one a line; labels and probabilities out.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iostream>
#include <memory>
#include <numeric>

#include "app/commands.h"
#include "app/format_options.h"
#include "app/options.h"
#include "base/error.h"
#include "base/stop.h"
#include "base/text.h"
#include "data/loader.h"
#include "train/checkpoint.h"

namespace mpq {
namespace {

constexpr int rows_at_once = 32;

struct Options {
  std::string checkpoint, in;
  FormatArgs formats;
  MachineArgs machine;
};

// Lines of a file or of standard input, checked and tokenized.
class TextLines {
 public:
  TextLines(const std::string& path, const Checkpoint& checkpoint, const Tokenizer& tokenizer)
      : name_(path.empty() ? "standard input" : path), checkpoint_(checkpoint), tokenizer_(tokenizer) {
    if (!path.empty()) file_.open(path, std::ios::binary);
    if (!path.empty() && !file_) throw UserError(fmt::format("cannot open {}: {}", path, std::strerror(errno)));
    // A person at the keyboard wants the answer to a line before writing the next one.
    batch_ = path.empty() && ::isatty(STDIN_FILENO) ? 1 : rows_at_once;
  }

  // The next texts; none at the end.
  Split next() {
    Split split;
    std::string line;
    while (split.row_count() < batch_ && std::getline(file_.is_open() ? file_ : std::cin, line)) {
      ++number_;
      if (line.ends_with('\r')) line.pop_back();
      add(line, split);
    }
    return split;
  }

 private:
  void add(const std::string& line, Split& split) {
    const std::string where = fmt::format("{}, line {}", name_, number_);
    if (trim(line).empty()) throw UserError(fmt::format("{}: the text is empty", where), "one text a line");
    if (const auto byte = find_invalid_utf8(line))
      throw UserError(fmt::format("{}: byte {} is not valid UTF-8", where, *byte + 1), "convert the text to UTF-8");
    ids_.clear();
    tokenizer_.append_ids(line, ids_);
    append_row(ids_, tokenizer_.special(), checkpoint_.max_tokens, checkpoint_.truncate, split.tokens);
    split.row_starts.push_back(static_cast<int64_t>(split.tokens.size()));
    split.labels.push_back(0);
  }

  std::string name_;
  const Checkpoint& checkpoint_;
  const Tokenizer& tokenizer_;
  std::ifstream file_;
  int64_t number_ = 0, batch_;
  std::vector<int32_t> ids_;
};

std::vector<double> softmax(std::span<const float> logits) {
  const double top = *std::max_element(logits.begin(), logits.end());
  std::vector<double> p;
  for (const float logit : logits) p.push_back(std::exp(logit - top));
  const double sum = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& value : p) value /= sum;
  return p;
}

void print(const std::vector<std::string>& labels, std::span<const float> logits, bool json) {
  const std::string& label = labels[std::max_element(logits.begin(), logits.end()) - logits.begin()];
  const std::vector<double> p = softmax(logits);
  if (json)
    print_json({{"label", label}, {"probabilities", p}, {"logits", std::vector<float>(logits.begin(), logits.end())}});
  else
    fmt::print("{}\t{:.6f}\n", label, fmt::join(p, " "));
}

void predict(Session& session, TextLines& lines, const std::vector<std::string>& labels, bool json) {
  const size_t classes = labels.size();
  for (Split split = lines.next(); split.row_count() > 0; split = lines.next()) {
    if (stop_requested()) throw Stopped("mpq predict");
    std::vector<int64_t> rows(split.row_count());
    std::iota(rows.begin(), rows.end(), 0);
    const std::vector<float> logits = session.logits(make_batch(split, rows))[0];
    for (size_t row = 0; row < rows.size(); ++row)
      print(labels, std::span(logits).subspan(row * classes, classes), json);
    std::fflush(stdout);
  }
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
  line.option("checkpoint", options.checkpoint, "DIR", "folder that mpq train or save_pretrained wrote");
  line.option("in", options.in, "FILE", "texts to label; without it standard input");
  options.formats.add_to(line);
  options.machine.add_to(line);
  if (!line.parse(args)) return 0;
  line.require({"checkpoint"});
  options.machine.apply();

  const Checkpoint checkpoint = read_checkpoint(options.checkpoint);
  require_head(checkpoint);
  const auto tokenizer = open_tokenizer(options.checkpoint);
  check_vocabulary(checkpoint, *tokenizer);
  const Bert model(checkpoint.config);
  const std::vector<LinearSpec> formats = options.formats.resolve(model, checkpoint.formats);
  TextLines lines(options.in, checkpoint, *tokenizer);
  line.announce();

  const auto device = options.machine.open();
  Session session(*device, model, {{.formats = formats}},
                  {.eval_rows = rows_at_once, .max_tokens = checkpoint.max_tokens, .training = false});
  load_into(session, 0, checkpoint);
  predict(session, lines, checkpoint.labels, line.json());
  return 0;
}

}  // namespace mpq
