#include "data/token_table.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/parallel.h"
#include "base/sha256.h"
#include "base/text.h"
#include "data/cache.h"

namespace mpq {
namespace fs = std::filesystem;
namespace {

// The file: this header, then row_starts, texts, groups (8 bytes each), labels, tokens (4 bytes each), label names.
struct Header {
  char magic[8];
  uint64_t rows, tokens, name_bytes, checksum;
};
constexpr char kMagic[9] = "MPQTOK01";

// Four independent lanes: runs at memory speed. Finds damage; not for anything hostile.
uint64_t checksum_of(std::string_view bytes) {
  constexpr uint64_t kOdd = 0x9E3779B97F4A7C15ull;
  uint64_t lane[4] = {1, 2, 3, 4}, word[4];
  size_t at = 0;
  for (; at + sizeof word <= bytes.size(); at += sizeof word) {
    std::memcpy(word, bytes.data() + at, sizeof word);
    for (int i = 0; i < 4; ++i) lane[i] = std::rotl((lane[i] ^ word[i]) * kOdd, 29);
  }
  uint64_t sum = hash64(bytes.substr(at));
  for (uint64_t l : lane) sum = (std::rotl(sum, 31) ^ l) * kOdd;
  return sum;
}

template <class T>
std::span<const T> take(std::string_view& bytes, uint64_t count) {
  const std::span<const T> out(reinterpret_cast<const T*>(bytes.data()), count);
  bytes.remove_prefix(count * sizeof(T));
  return out;
}

// The table inside these bytes, or nothing if they are not a whole, undamaged one.
std::optional<TokenTable> parse(std::string_view bytes, std::shared_ptr<const void> storage) {
  Header h;
  if (bytes.size() < sizeof h) return std::nullopt;
  std::memcpy(&h, bytes.data(), sizeof h);
  bytes.remove_prefix(sizeof h);
  const uint64_t size = bytes.size();
  if (std::memcmp(h.magic, kMagic, sizeof h.magic) != 0 || h.rows > size || h.tokens > size || h.name_bytes > size ||
      size != (h.rows + 1) * 8 + h.rows * (8 + 8 + 4) + h.tokens * 4 + h.name_bytes || h.checksum != checksum_of(bytes))
    return std::nullopt;
  TokenTable table;
  table.checksum = h.checksum;
  table.storage = std::move(storage);
  table.row_starts = take<int64_t>(bytes, h.rows + 1);
  table.keys.texts = take<uint64_t>(bytes, h.rows);
  table.keys.groups = take<uint64_t>(bytes, h.rows);
  table.keys.labels = take<int32_t>(bytes, h.rows);
  table.tokens = take<int32_t>(bytes, h.tokens);
  for (std::string_view name : split(bytes, '\n')) table.label_names.emplace_back(name);
  return table;
}

std::optional<TokenTable> open_cached(const fs::path& path) {
  if (!fs::exists(path)) return std::nullopt;
  const auto file = std::make_shared<MappedFile>(path);
  auto table = parse(file->text(), file);
  if (!table) log().warn("the token cache {} is damaged; it is built again", path.string());
  return table;
}

std::vector<std::vector<int32_t>> tokenize(const std::vector<Row>& rows, const Tokenizer& tokenizer) {
  constexpr size_t kChunk = 64;
  std::vector<std::vector<int32_t>> ids(rows.size());
  parallel_for(static_cast<int64_t>((rows.size() + kChunk - 1) / kChunk), [&](int64_t chunk) {
    const size_t first = static_cast<size_t>(chunk) * kChunk;
    for (size_t r = first; r < std::min(first + kChunk, rows.size()); ++r) tokenizer.append_ids(rows[r].text, ids[r]);
  });
  return ids;
}

template <class T>
void append(std::string& out, const std::vector<T>& values) {
  out.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

std::string build(const SplitSource& source, const Tokenizer& tokenizer, const std::vector<std::string>* label_names) {
  const std::vector<Row> rows = source.read();
  const OwnedRowKeys keys = row_keys(rows, label_names, source.name);
  const auto ids = tokenize(rows, tokenizer);
  std::vector<int64_t> row_starts{0};
  for (const auto& row : ids) row_starts.push_back(row_starts.back() + static_cast<int64_t>(row.size()));
  std::string payload;
  append(payload, row_starts);
  append(payload, keys.texts);
  append(payload, keys.groups);
  append(payload, keys.labels);
  for (const auto& row : ids) append(payload, row);
  const std::string joined = join(keys.label_names, "\n");
  payload += joined;
  Header header{{}, rows.size(), static_cast<uint64_t>(row_starts.back()), joined.size(), checksum_of(payload)};
  std::memcpy(header.magic, kMagic, sizeof header.magic);
  return std::string(reinterpret_cast<const char*>(&header), sizeof header) + payload;
}

std::string cache_name(const SplitSource& source, const Tokenizer& tokenizer,
                       const std::vector<std::string>* label_names) {
  const std::string labels = label_names ? join(*label_names, "\n") : "";
  const std::string key = fmt::format("{}\n{}\n{}", source.key, tokenizer.fingerprint(), labels);
  return fmt::format("tokens/{}.bin", sha256_hex(key).substr(0, 32));
}

}  // namespace

TokenTable load_token_table(const SplitSource& source, const Tokenizer& tokenizer,
                            const std::vector<std::string>* label_names) {
  const auto path = cache_file(cache_name(source, tokenizer, label_names));
  if (path)
    if (auto table = open_cached(*path)) return std::move(*table);
  const auto bytes = std::make_shared<const std::string>(build(source, tokenizer, label_names));
  keep_in_cache(path, *bytes);
  auto table = parse(*bytes, bytes);
  check(table.has_value(), "a token table that was just built does not parse");
  return std::move(*table);
}

}  // namespace mpq
