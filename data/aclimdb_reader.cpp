#include "data/aclimdb_reader.h"

#include <map>
#include <unordered_map>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "data/archive.h"
#include "data/table_reader.h"

namespace mpq {
namespace fs = std::filesystem;
namespace {

using Labels = std::vector<std::string>;

// A split as it is found: reviews by number, and the list of the films' addresses, for each label.
struct Found {
  std::map<int64_t, std::pair<std::string, std::string>> reviews;  // number -> file name, text
  std::string urls;
};
using FoundSplit = std::map<std::string, Found>;

// "neg/12_3.txt" and "urls_neg.txt" are wanted; everything else is not.
void take_file(const std::string& name, std::string content, const Labels& labels, FoundSplit& found) {
  for (const std::string& label : labels) {
    if (name == fmt::format("urls_{}.txt", label)) found[label].urls = std::move(content);
    if (!name.starts_with(label + "/") || !name.ends_with(".txt")) continue;
    const std::string_view file = std::string_view(name).substr(label.size() + 1);
    const auto number = parse_int(file.substr(0, file.find('_')));
    if (!number) throw UserError(fmt::format("{} is no review's name", name), "NUMBER_RATING.txt");
    found[label].reviews[*number] = {name, std::move(content)};
  }
}

FoundSplit read_folder(const fs::path& folder, const Labels& labels) {
  FoundSplit found;
  for (const std::string& label : labels) {
    const std::string urls = fmt::format("urls_{}.txt", label);
    if (fs::exists(folder / urls)) take_file(urls, read_file(folder / urls), labels, found);
    if (!fs::is_directory(folder / label)) continue;
    for (const auto& entry : fs::directory_iterator(folder / label))
      take_file(label + "/" + entry.path().filename().string(), read_file(entry.path()), labels, found);
  }
  return found;
}

FoundSplit read_archive(const fs::path& archive, const std::string& split, const Labels& labels) {
  const std::string prefix = "aclImdb/" + split + "/";
  FoundSplit found;
  for_each_archived_file(
      archive, [&](std::string_view name) { return name.starts_with(prefix); },
      [&](const std::string& name, std::string content) {
        take_file(name.substr(prefix.size()), std::move(content), labels, found);
      });
  return found;
}

// "http://www.imdb.com/title/tt0064354/usercomments" -> "tt0064354".
std::string film_of(std::string_view url) {
  const size_t at = url.find("/tt");
  if (at == std::string_view::npos) return {};
  const std::string_view rest = url.substr(at + 1);
  return std::string(rest.substr(0, rest.find('/')));
}

}  // namespace

std::vector<Row> read_aclimdb(const fs::path& path, const std::string& split_name, const Labels& labels) {
  FoundSplit found =
      fs::is_directory(path) ? read_folder(path / split_name, labels) : read_archive(path, split_name, labels);
  std::vector<Row> rows;
  for (const std::string& label : labels) {
    auto& [reviews, url_text] = found[label];
    const auto urls = split(url_text, '\n');
    for (auto& [number, review] : reviews) {
      auto& [name, text] = review;
      const auto line = static_cast<uint64_t>(number);
      check_text(text, fmt::format("{}, {}/{}", path.string(), split_name, name));
      rows.push_back({std::move(text), label, line < urls.size() ? film_of(urls[line]) : "", name});
    }
  }
  if (rows.empty())
    throw UserError(fmt::format("{} holds no reviews in {}/{}", path.string(), split_name,
                                join(labels, fmt::format(" and {}/", split_name))),
                    "the official aclImdb folder or aclImdb_v1.tar.gz");
  return rows;
}

std::vector<Row> read_imdb_table(const fs::path& table, const fs::path& movies, bool unlabelled) {
  const std::map<std::string, std::string> names = unlabelled
                                                       ? std::map<std::string, std::string>{{"-1", "unsup"}}
                                                       : std::map<std::string, std::string>{{"0", "neg"}, {"1", "pos"}};
  std::unordered_map<std::string, std::string> film;
  const std::string text = read_decompressed(movies);
  for (std::string_view line : split(text, '\n'))
    if (const size_t tab = line.find('\t'); tab != std::string_view::npos)
      film.emplace(line.substr(0, tab), line.substr(tab + 1));
  auto rows = read_table(table, {.text = "3", .label = "1", .group = "2"});
  for (Row& row : rows) {
    const auto it = film.find(row.group);
    if (it == film.end())
      throw UserError(
          fmt::format("{}, {}: {} names no film for {}", table.string(), row.place, movies.string(), row.group));
    const auto name = names.find(row.label);
    if (name == names.end())
      throw UserError(fmt::format("{}, {}: the label {} is not allowed", table.string(), row.place, row.label),
                      unlabelled ? "-1" : "0 or 1");
    row.group = it->second;
    row.label = name->second;
  }
  return rows;
}

}  // namespace mpq
