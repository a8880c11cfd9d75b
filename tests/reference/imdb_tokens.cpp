// Token ids of whole reviews: golden/wordpiece_imdb_SPLIT.tsv holds, for each row of data/imdb/SPLIT.tsv.xz, its id,
// the number of its tokens, and the first 16 hex digits of the SHA-256 of the ids as little-endian int32.
#include <bit>
#include <map>

#include "base/error.h"
#include "base/file.h"
#include "base/sha256.h"
#include "base/text.h"
#include "data/archive.h"
#include "data/tokenizer.h"
#include "reference/reference.h"

namespace mpq::reference {
namespace {

std::string digest(const std::vector<int32_t>& ids) {
  static_assert(std::endian::native == std::endian::little);
  const std::string_view bytes(reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof(int32_t));
  return fmt::format("{}\t{}", ids.size(), sha256_hex(bytes).substr(0, 16));
}

// id -> "count TAB digest".
std::map<std::string, std::string, std::less<>> read_expected(const std::filesystem::path& path) {
  std::map<std::string, std::string, std::less<>> expected;
  const std::string text = read_file(path);
  for (std::string_view line : split(text, '\n'))
    if (const size_t tab = line.find('\t'); tab != std::string_view::npos)
      expected.emplace(line.substr(0, tab), line.substr(tab + 1));
  return expected;
}

void check_split(const std::filesystem::path& golden, const std::filesystem::path& reviews, const Tokenizer& tokenizer,
                 Result& result) {
  auto expected = read_expected(golden);
  const std::string text = read_decompressed(reviews);
  for (std::string_view line : split(text, '\n')) {
    const auto fields = split(line, '\t');
    const auto entry = fields.size() == 3 ? expected.find(fields[1]) : expected.end();
    if (entry == expected.end()) continue;
    ++result.cases;
    if (const std::string got = digest(tokenizer.encode(fields[2])); got != entry->second)
      result.mismatch(fmt::format("{}: {} instead of {}", fields[1], got, entry->second));
    expected.erase(entry);
  }
  for (const auto& [id, unused] : expected) result.mismatch(fmt::format("{}: no such review", id));
}

}  // namespace

Result check_imdb_tokens(const Setting& setting) {
  Result result{.group = "imdb_tokens"};
  const auto vocab = setting.folder / "data/vocab/bert-base-uncased-vocab.txt";
  for (const char* split : {"train", "test", "unsup"}) {
    const auto golden = setting.folder / fmt::format("golden/wordpiece_imdb_{}.tsv", split);
    const auto reviews = setting.folder / fmt::format("data/imdb/{}.tsv.xz", split);
    if (!std::filesystem::exists(golden) || !std::filesystem::exists(reviews) || !std::filesystem::exists(vocab))
      continue;
    result.found = true;
    check_split(golden, reviews, *open_tokenizer(vocab), result);
  }
  return result;
}

}  // namespace mpq::reference
