// What a masked language model puts in the place of every [MASK].
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "app/commands.h"
#include "app/options.h"
#include "app/text_lines.h"
#include "base/error.h"
#include "base/statistics.h"
#include "base/stop.h"
#include "data/loader.h"
#include "train/checkpoint.h"

namespace mpq {
namespace {
using Json = nlohmann::ordered_json;

struct Options {
  std::string checkpoint, in;
  int top = 5;
  MachineArgs machine;
};

// Rows whose masked tokens are the [MASK]s that stand in them.
Split with_masks(const std::vector<std::string>& texts, const Tokenizer& tokenizer, int max_tokens) {
  const SpecialIds special = tokenizer.special();
  Split split;
  split.masked.row_starts = {0};
  std::vector<int32_t> ids;
  for (const std::string& text : texts) {
    ids.clear();
    tokenizer.append_ids(text, ids);
    const auto start = static_cast<int64_t>(split.tokens.size());
    append_row(ids, special, max_tokens, Truncate::Head, split.tokens);
    split.row_starts.push_back(static_cast<int64_t>(split.tokens.size()));
    split.labels.push_back(0);
    for (int64_t at = start; at < split.row_starts.back(); ++at) {
      if (split.tokens[at] != special.mask) continue;
      split.masked.positions.push_back(static_cast<int32_t>(at - start));
      split.masked.tokens.push_back(special.mask);
    }
    split.masked.row_starts.push_back(static_cast<int64_t>(split.masked.tokens.size()));
  }
  return split;
}

// The likeliest tokens of one mask, the first one first.
Json likeliest(std::span<const float> logits, const Tokenizer& tokenizer, int top) {
  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto count = std::min<size_t>(order.size(), static_cast<size_t>(top));
  std::partial_sort(order.begin(), order.begin() + static_cast<int64_t>(count), order.end(),
                    [&](int32_t a, int32_t b) { return std::pair(-logits[a], a) < std::pair(-logits[b], b); });
  const std::vector<double> p = softmax(logits);
  Json tokens = Json::array();
  for (size_t i = 0; i < count; ++i)
    tokens.push_back({{"token", tokenizer.token(order[i])}, {"probability", p[order[i]]}, {"logit", logits[order[i]]}});
  return tokens;
}

void print(const Json& masks, bool json) {
  if (json) return print_json({{"masks", masks}});
  for (const Json& mask : masks) {
    std::vector<std::string> words;
    for (const Json& token : mask)
      words.push_back(fmt::format("{} {:.3f}", token["token"].get<std::string>(), token["probability"].get<double>()));
    fmt::print("{}\n", fmt::join(words, "\t"));
  }
}

}  // namespace

int run_fill(const Args& args) {
  Options options;
  CommandLine line("fill",
                   "mpq fill --checkpoint DIR [--in FILE]\n\nReads one text a line and prints, for every [MASK] in it, "
                   "the tokens that a masked language model finds\nlikeliest there, and their probabilities; with "
                   "--json one object a text, with logits.\n\nExample: echo \"the worst [MASK] i have ever seen\" | "
                   "mpq fill --checkpoint runs/pretrained");
  line.option("checkpoint", options.checkpoint, "DIR", "folder that mpq pretrain or BertForMaskedLM wrote");
  line.option("in", options.in, "FILE", "texts; without it standard input");
  line.option("top", options.top, "N", "tokens to show", {.min = 1});
  options.machine.add_to(line);
  if (!line.parse(args)) return 0;
  line.require({"checkpoint"});
  options.machine.apply();

  const Checkpoint checkpoint = read_checkpoint(options.checkpoint, Head::masked_lm);
  if (!checkpoint.values.contains("cls.predictions.bias"))
    throw UserError(fmt::format("{} is no masked language model", options.checkpoint), "mpq pretrain makes one");
  const auto tokenizer = open_tokenizer(options.checkpoint);
  check_vocabulary(checkpoint, *tokenizer);
  const Bert model(checkpoint.config, Head::masked_lm);
  TextLines lines(options.in);
  line.announce();
  const auto device = options.machine.open();
  Session session(
      *device, model, {{.formats = std::vector<LinearSpec>(model.linears().size())}},
      {.eval_rows = 1, .max_tokens = checkpoint.max_tokens, .masked_tokens = checkpoint.max_tokens, .training = false});
  load_into(session, 0, checkpoint);

  // A model may have rows that its tokenizer has no word for.
  const auto vocabulary = static_cast<size_t>(model.config().vocabulary),
             words = static_cast<size_t>(tokenizer->vocab_size());
  for (auto texts = lines.next(); !texts.empty(); texts = lines.next()) {
    if (stop_requested()) throw Stopped("mpq fill");
    for (const std::string& text : texts) {
      const Batch batch = make_batch(with_masks({text}, *tokenizer, checkpoint.max_tokens), std::vector<int64_t>{0});
      if (batch.masked_rows.empty()) throw UserError(fmt::format("no [MASK] in \"{}\"", text), "one or more a text");
      const std::vector<float> logits = session.masked_logits(batch)[0];
      Json masks = Json::array();
      for (size_t m = 0; m < batch.masked_rows.size(); ++m)
        masks.push_back(likeliest(std::span(logits).subspan(m * vocabulary, words), *tokenizer, options.top));
      print(masks, line.json());
    }
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace mpq
