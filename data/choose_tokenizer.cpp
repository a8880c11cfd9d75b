#include "data/choose_tokenizer.h"

#include <optional>

#include "base/error.h"
#include "base/log.h"
#include "base/sha256.h"
#include "base/text.h"
#include "data/cache.h"
#include "data/unigram.h"

namespace mpq {
namespace fs = std::filesystem;
namespace {

// About 4 MB of text, evenly spread: more makes training slow (a minute for IMDb), not the pieces better.
std::vector<std::string_view> sample_texts(const std::vector<Row>& rows) {
  constexpr size_t kBytes = 4 << 20;
  size_t bytes = 0;
  for (const Row& row : rows) bytes += row.text.size();
  const size_t step = std::max<size_t>(1, bytes / kBytes);
  std::vector<std::string_view> texts;
  for (size_t r = 0; r < rows.size(); r += step) texts.push_back(rows[r].text);
  return texts;
}

std::shared_ptr<Tokenizer> open_kept(const std::optional<fs::path>& path) {
  if (!path || !fs::exists(*path)) return nullptr;
  try {
    return open_tokenizer(*path);
  } catch (const UserError& error) {
    log().warn("{}; it is trained again", error.what());
    return nullptr;
  }
}

// The model is kept beside the token caches: training it takes seconds.
std::shared_ptr<Tokenizer> trained_tokenizer(const SplitSource& train, int pieces) {
  const std::string key = sha256_hex(fmt::format("sentencepiece {} {}", pieces, train.key)).substr(0, 32);
  const auto path = cache_file(fmt::format("sentencepiece/{}.model", key));
  if (auto kept = open_kept(path)) return kept;
  const auto rows = train.read();
  log().info("training a tokenizer of {} sentencepieces on {}", pieces, train.name);
  const auto tokenizer = train_sentencepiece(sample_texts(rows), pieces);
  keep_in_cache(path, dynamic_cast<const Unigram&>(*tokenizer).model().file);
  return tokenizer;
}

}  // namespace

std::shared_ptr<Tokenizer> choose_tokenizer(const std::string& asked, const Source& source) {
  const std::string name = asked.empty() ? source.default_tokenizer : asked;
  constexpr std::string_view kTrain = "sentencepiece:";
  if (!name.starts_with(kTrain)) return open_tokenizer(name);
  const auto pieces = parse_int(std::string_view(name).substr(kTrain.size()));
  if (!pieces || *pieces < 100 || *pieces > 1'000'000)
    throw UserError(fmt::format("--tokenizer {} is not allowed", name), "sentencepiece:N with N from 100 to 1000000");
  return trained_tokenizer(source.train, static_cast<int>(*pieces));
}

}  // namespace mpq
