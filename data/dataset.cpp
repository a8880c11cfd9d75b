#include "data/dataset.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numeric>
#include <optional>
#include <tuple>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"
#include "base/log.h"
#include "base/sha256.h"
#include "base/text.h"
#include "data/cache.h"
#include "data/source.h"
#include "data/token_table.h"
#include "data/unigram.h"

namespace mpq {
namespace fs = std::filesystem;
namespace {

constexpr double kDefaultValidShare = 0.2;
using Rows = std::vector<int64_t>;  // row numbers of a table, ascending

struct Portion {
  TokenTable table;
  Rows rows;
  int64_t row_count() const { return static_cast<int64_t>(rows.size()); }
};

// FNV's low bits are weak; this finalizer (of SplitMix64) makes an order by hash a fair shuffle.
uint64_t mix(uint64_t h) {
  h = (h ^ h >> 30) * 0xbf58476d1ce4e5b9ull;
  h = (h ^ h >> 27) * 0x94d049bb133111ebull;
  return h ^ h >> 31;
}

Portion load_portion(const SplitSource& source, const Tokenizer& tokenizer,
                     const std::vector<std::string>* label_names) {
  Portion portion{load_token_table(source, tokenizer, label_names), {}};
  portion.rows.resize(portion.table.labels.size());
  std::iota(portion.rows.begin(), portion.rows.end(), 0);
  return portion;
}

// The groups, in the order of their hash, that hold about `share` of the rows: the choice depends on the groups alone,
// not on the order of the rows.
std::unordered_set<uint64_t> choose_groups(std::span<const uint64_t> group_of_row, double share) {
  std::unordered_map<uint64_t, int64_t> sizes;
  for (uint64_t group : group_of_row) ++sizes[group];
  std::vector<uint64_t> order;
  for (const auto& [group, size] : sizes) order.push_back(group);
  std::sort(order.begin(), order.end(), [](uint64_t a, uint64_t b) { return mix(a) < mix(b); });
  const auto wanted = std::llround(share * static_cast<double>(group_of_row.size()));
  std::unordered_set<uint64_t> chosen;
  int64_t taken = 0;
  for (uint64_t group : order) {
    if (taken + sizes[group] / 2 >= wanted) break;  // the nearer side of the wanted number
    chosen.insert(group);
    taken += sizes[group];
  }
  return chosen;
}

Portion take_validation(Portion& train, double share) {
  const auto chosen = choose_groups(train.table.groups, share);
  const auto is_chosen = [&](int64_t r) { return chosen.contains(train.table.groups[r]); };
  Portion valid{train.table, {}};
  std::copy_if(train.rows.begin(), train.rows.end(), std::back_inserter(valid.rows), is_chosen);
  std::erase_if(train.rows, is_chosen);
  return valid;
}

// A fixed choice of `wanted` rows by the hash of their texts, each label in proportion.
void keep_subset(Portion& portion, int64_t wanted) {
  const TokenTable& table = portion.table;
  const int64_t total = portion.row_count();
  if (wanted >= total) return;
  const auto rank = [&](int64_t r) { return std::tuple(table.labels[r], mix(table.texts[r] + 1), r); };
  Rows order = portion.rows, subset;
  std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return rank(a) < rank(b); });
  for (auto begin = order.begin(); begin != order.end();) {
    const auto end =
        std::find_if(begin, order.end(), [&](int64_t r) { return table.labels[r] != table.labels[*begin]; });
    const int64_t quota = (end - order.begin()) * wanted / total - (begin - order.begin()) * wanted / total;
    subset.insert(subset.end(), begin, begin + quota);
    begin = end;
  }
  std::sort(subset.begin(), subset.end());
  portion.rows = std::move(subset);
}

// --rows: training and validation share them in proportion.
void limit_rows(int64_t rows, Portion& train, Portion& valid, Portion& test) {
  const int64_t total = train.row_count() + valid.row_count();
  if (rows < total) {
    const auto exact = static_cast<double>(rows) * static_cast<double>(valid.row_count()) / static_cast<double>(total);
    const int64_t valid_rows = valid.rows.empty() ? 0 : std::max<int64_t>(1, std::llround(exact));
    keep_subset(train, rows - valid_rows);
    keep_subset(valid, valid_rows);
  }
  keep_subset(test, rows);
}

void append_rows(Split& split, const Portion& portion, const SpecialIds& special, const DataOptions& options) {
  const auto& starts = portion.table.row_starts;
  const auto length = [&](int64_t r) { return static_cast<size_t>(starts[r + 1] - starts[r]); };
  size_t tokens = split.tokens.size();
  for (int64_t r : portion.rows) tokens += std::min(length(r) + 2, static_cast<size_t>(options.max_tokens));
  split.tokens.reserve(tokens);
  for (int64_t r : portion.rows) {
    append_row(portion.table.tokens.subspan(starts[r], length(r)), special, options.max_tokens, options.truncate,
               split.tokens);
    split.row_starts.push_back(static_cast<int64_t>(split.tokens.size()));
    split.labels.push_back(portion.table.labels[r]);
  }
}

double valid_share(const std::string& valid) {
  if (valid.empty()) return kDefaultValidShare;
  const double share = parse_double(valid).value_or(-1);
  if (!(share > 0 && share < 1))
    throw UserError(fmt::format("--valid {} is not allowed", valid), "a file, or a share between 0 and 1");
  return share;
}

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

std::shared_ptr<Tokenizer> choose_tokenizer(const std::string& asked, const Source& source) {
  const std::string name = asked.empty() ? source.default_tokenizer : asked;
  constexpr std::string_view kTrain = "sentencepiece:";
  if (!name.starts_with(kTrain)) return open_tokenizer(name);
  const auto pieces = parse_int(std::string_view(name).substr(kTrain.size()));
  if (!pieces || *pieces < 100 || *pieces > 1'000'000)
    throw UserError(fmt::format("--tokenizer {} is not allowed", name), "sentencepiece:N with N from 100 to 1000000");
  return trained_tokenizer(source.train, static_cast<int>(*pieces));
}

std::string describe(const Dataset& d, const std::string& name) {
  return fmt::format("{}: {} train, {} validation, {} test rows; {} classes ({}); {} tokenizer, {} tokens", name,
                     d.train.row_count(), d.valid.row_count(), d.test.row_count(), d.label_names.size(),
                     join(d.label_names, ", "), d.tokenizer->kind(), d.tokenizer->vocab_size());
}

std::string fingerprint(const DataOptions& options, const Tokenizer& tokenizer,
                        std::initializer_list<const Portion*> portions) {
  Sha256 hash;
  hash.update(fmt::format("{} {} {} {}\n", tokenizer.fingerprint(), options.max_tokens,
                          static_cast<int>(options.truncate), options.merge_valid_into_train));
  for (const Portion* portion : portions) {
    hash.update(fmt::format("{:016x} {}\n", portion->table.checksum, portion->row_count()));
    if (portion->row_count() < portion->table.row_count())
      hash.update(fmt::format("{}\n", fmt::join(portion->rows, " ")));
  }
  return hash.hex();
}

void check_options(const DataOptions& options) {
  if (options.max_tokens < 3)
    throw UserError(fmt::format("--max-tokens {} is too small", options.max_tokens), "at least 3");
  if (options.rows < 0) throw UserError(fmt::format("--rows {} is not allowed", options.rows), "0 (all) or more");
}

}  // namespace

void append_row(std::span<const int32_t> ids, const SpecialIds& special, int max_tokens, Truncate truncate,
                std::vector<int32_t>& out) {
  const size_t room = static_cast<size_t>(max_tokens) - 2;
  const size_t tail = ids.size() <= room || truncate == Truncate::Head ? 0 : room - static_cast<size_t>(max_tokens) / 4;
  const size_t head = std::min(ids.size(), room) - tail;
  out.push_back(special.cls);
  out.insert(out.end(), ids.begin(), ids.begin() + static_cast<int64_t>(head));
  out.insert(out.end(), ids.end() - static_cast<int64_t>(tail), ids.end());
  out.push_back(special.sep);
}

Dataset load_dataset(const DataOptions& options) {
  check_options(options);
  const Source source = open_source(options);
  Dataset data;
  data.tokenizer = choose_tokenizer(options.tokenizer, source);

  Portion train = load_portion(source.train, *data.tokenizer, nullptr);
  data.label_names = train.table.label_names;
  if (data.label_names.size() < 2)
    throw UserError(fmt::format("{} holds only the label {}", source.train.name, join(data.label_names, ", ")),
                    "a classifier needs two labels or more");
  Portion valid, test;
  if (source.valid)
    valid = load_portion(*source.valid, *data.tokenizer, &data.label_names);
  else if (!options.merge_valid_into_train)
    valid = take_validation(train, valid_share(options.valid));
  if (source.test) test = load_portion(*source.test, *data.tokenizer, &data.label_names);
  if (options.rows > 0) limit_rows(options.rows, train, valid, test);

  const SpecialIds special = data.tokenizer->special();
  append_rows(data.train, train, special, options);
  append_rows(options.merge_valid_into_train ? data.train : data.valid, valid, special, options);
  append_rows(data.test, test, special, options);
  if (data.train.row_count() == 0)
    throw UserError(fmt::format("{}: no rows are left for training", source.train.name),
                    "more rows, or a smaller --valid");
  data.description = describe(data, source.name);
  data.fingerprint = fingerprint(options, *data.tokenizer, {&train, &valid, &test});
  return data;
}

}  // namespace mpq
