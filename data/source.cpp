#include "data/source.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/error.h"
#include "base/sha256.h"
#include "base/text.h"
#include "data/aclimdb_reader.h"
#include "data/archive.h"
#include "data/cache.h"
#include "data/synthetic.h"
#include "data/table_reader.h"
#include "data/text_reader.h"

namespace mpq {
namespace fs = std::filesystem;
namespace {

constexpr const char* kArchive = "aclImdb_v1.tar.gz";
constexpr const char* kSyntheticTokenizer = "sentencepiece:1000";
constexpr const char* kRealTokenizer = "sentencepiece:8000";
constexpr const char* kKinds =
    "synthetic, imdb, an aclImdb folder or archive, a folder with train.tsv or train.csv, a .tsv or .csv file, or "
    "plain "
    "text (.txt, or a folder of such files)";

// Identifies a file's content without reading it: any write changes the change time.
std::string stat_key(const fs::path& path) {
  struct stat s;
  if (::stat(path.c_str(), &s) != 0)
    throw UserError(fmt::format("cannot read {}: {}", path.string(), std::strerror(errno)));
  return fmt::format("{}|{}|{}|{}.{}|{}.{}\n", path.string(), s.st_ino, s.st_size, s.st_mtim.tv_sec, s.st_mtim.tv_nsec,
                     s.st_ctim.tv_sec, s.st_ctim.tv_nsec);
}

// The same for all files of a folder, in whatever order the system lists them.
std::string folder_key(const fs::path& folder) {
  uint64_t sum = 0;
  if (fs::is_directory(folder))
    for (const auto& entry : fs::directory_iterator(folder)) sum += hash64(stat_key(entry.path()));
  return fmt::format("{}|{:016x}\n", folder.string(), sum);
}

std::string key_of(const std::string& reader, const std::vector<fs::path>& files) {
  Sha256 hash;
  hash.update(reader);
  for (const fs::path& file : files) hash.update(stat_key(fs::absolute(file)));
  return hash.hex();
}

SplitSource table_source(const fs::path& path, const Columns& columns) {
  const std::string reader = fmt::format("table {} {} {}\n", columns.text, columns.label, columns.group);
  return {path.string(), key_of(reader, {path}), [=] { return read_table(path, columns); }};
}

SplitSource text_source(const fs::path& path, const std::vector<fs::path>& files) {
  return {path.string(), key_of("text\n", files), [=] { return read_texts(files); }};
}

std::vector<Row> without_labels(std::vector<Row> rows) {
  for (Row& row : rows) row.label = kNoLabels[0];
  return rows;
}

SplitSource unlabelled(const SplitSource& source) {
  return {source.name, source.key + " without labels", [read = source.read] { return without_labels(read()); }};
}

SplitSource imdb_table_source(const fs::path& folder, const char* split, bool unlabelled = false) {
  const fs::path table = folder / fmt::format("{}.tsv.xz", split), movies = folder / "movies.tsv.xz";
  return {table.string(), key_of("imdb table\n", {table, movies}),
          [=] { return read_imdb_table(table, movies, unlabelled); }};
}

std::string aclimdb_key(const fs::path& path, const std::string& split, const std::vector<std::string>& labels) {
  if (fs::is_regular_file(path)) return key_of(fmt::format("aclImdb {} {}\n", split, join(labels, " ")), {path});
  std::string key = folder_key(path / split);
  for (const std::string& label : labels) key += folder_key(path / split / label);
  return sha256_hex(key);
}

SplitSource aclimdb_source(const fs::path& path, const std::string& split,
                           const std::vector<std::string>& labels = {"neg", "pos"}) {
  return {fmt::format("{}, {}", path.string(), split), aclimdb_key(path, split, labels),
          [=] { return read_aclimdb(path, split, labels); }};
}

// Only a folder can be asked cheaply whether it has unlabelled reviews; the official archive has them.
bool has_unlabelled(const fs::path& release) {
  return fs::is_regular_file(release) || fs::is_directory(release / "train" / "unsup");
}

SplitSource synthetic_source(bool train) {
  return {"the synthetic corpus", fmt::format("{} {}", synthetic_fingerprint(), train ? "train" : "test"), [=] {
            auto corpus = make_synthetic_corpus();
            return train ? std::move(corpus.train) : std::move(corpus.test);
          }};
}

// train.tsv, train.csv.gz ... in a folder, by the split's name.
std::optional<fs::path> find_table(const fs::path& folder, std::initializer_list<const char*> splits) {
  for (const char* split : splits)
    for (const char* kind : {".tsv", ".csv"})
      for (const char* compression : {"", ".gz", ".xz", ".zst", ".bz2"})
        if (const fs::path path = folder / fmt::format("{}{}{}", split, kind, compression); fs::exists(path))
          return path;
  return std::nullopt;
}

// The aclImdb release, if the path is one or holds one.
std::optional<fs::path> find_aclimdb(const fs::path& path) {
  if (fs::is_directory(path / "train" / "pos")) return path;
  if (fs::is_directory(path / "aclImdb" / "train" / "pos")) return path / "aclImdb";
  if (fs::is_regular_file(path / kArchive)) return path / kArchive;
  if (fs::is_regular_file(path) && without_compression_suffix(path).extension() == ".tar") return path;
  return std::nullopt;
}

Source open_path(const fs::path& path, const Columns& columns) {
  if (!fs::exists(path))
    throw UserError(fmt::format("--data {}: there is no such file or folder", path.string()), kKinds);
  Source source{.name = path.string(), .default_tokenizer = kRealTokenizer};
  if (const auto release = find_aclimdb(path)) {
    source.train = aclimdb_source(*release, "train");
    source.test = aclimdb_source(*release, "test");
    if (has_unlabelled(*release)) source.unlabelled = unlabelled(aclimdb_source(*release, "train", {"unsup"}));
  } else if (fs::exists(path / "movies.tsv.xz") && fs::exists(path / "train.tsv.xz")) {
    source.train = imdb_table_source(path, "train");
    source.test = imdb_table_source(path, "test");
    if (fs::exists(path / "unsup.tsv.xz")) source.unlabelled = unlabelled(imdb_table_source(path, "unsup", true));
  } else if (const auto train = find_table(path, {"train"})) {
    source.train = table_source(*train, columns);
    source.has_columns = true;
    if (const auto valid = find_table(path, {"valid", "dev"})) source.valid = table_source(*valid, columns);
    if (const auto test = find_table(path, {"test"})) source.test = table_source(*test, columns);
    if (const auto rest = find_table(path, {"unlabelled"}))
      source.unlabelled = unlabelled(table_source(*rest, columns));
  } else if (const auto kind = without_compression_suffix(path).extension(); kind == ".tsv" || kind == ".csv") {
    source.train = table_source(path, columns);
    source.has_columns = true;
  } else if (const auto files = text_files(path); !files.empty()) {
    source.train = text_source(path, files);
  } else {
    throw UserError(fmt::format("--data {}: the kind of the data is not clear", path.string()), kKinds);
  }
  return source;
}

// What data/fetch_imdb.sh fetched, unless variables of the environment point elsewhere.
Source open_imdb(const Columns& columns) {
  const char* at = std::getenv("MPQ_IMDB");
  const fs::path fetched = cache_file("imdb").value_or("");
  const fs::path path = at && *at ? fs::path(at) : fetched;
  if (!fs::exists(path))
    throw UserError(fmt::format("--data imdb: {} does not exist", path.string()),
                    "run data/fetch_imdb.sh, or set MPQ_IMDB to a folder that holds aclImdb/ or aclImdb_v1.tar.gz");
  Source source = open_path(path, columns);
  const char* vocab = std::getenv("MPQ_VOCAB");
  const fs::path fetched_vocab = fetched / "bert-base-uncased-vocab.txt";
  if (vocab && *vocab)
    source.default_tokenizer = vocab;
  else if (fs::exists(fetched_vocab))
    source.default_tokenizer = fetched_vocab;
  return source;
}

bool is_path(const std::string& valid) { return !valid.empty() && !parse_double(valid); }

// Columns are for tables: asking for one elsewhere is a mistake that should not pass in silence.
void refuse_idle_columns(const DataOptions& options, const Source& source) {
  const bool asked = !options.text_column.empty() || !options.label_column.empty() || !options.group_column.empty();
  if (asked && !source.has_columns && !is_path(options.valid) && options.test.empty())
    throw UserError(fmt::format("{} has no columns to choose from", source.name),
                    "--text-column, --label-column and --group-column go with TSV and CSV files");
}

}  // namespace

Source open_source(const DataOptions& options) {
  const Columns columns{options.text_column, options.label_column, options.group_column};
  Source source;
  if (options.data == "synthetic")
    source = {.name = "synthetic corpus (generated)",
              .train = synthetic_source(true),
              .test = synthetic_source(false),
              .default_tokenizer = kSyntheticTokenizer};
  else
    source = options.data == "imdb" ? open_imdb(columns) : open_path(options.data, columns);
  refuse_idle_columns(options, source);
  if (is_path(options.valid)) source.valid = table_source(options.valid, columns);
  if (!options.test.empty()) source.test = table_source(options.test, columns);
  return source;
}

}  // namespace mpq
