#include "data/text_data.h"

#include <optional>

#include "data/source.h"
#include "data/splits.h"

namespace mpq {
namespace {

struct TextTable {
  std::vector<Row> rows;
  OwnedRowKeys keys;
};

TextTable read_table_of(const std::optional<SplitSource>& source, const std::vector<std::string>* label_names) {
  if (!source) return {};
  TextTable table{source->read(), {}};
  table.keys = row_keys(table.rows, label_names, source->name);
  return table;
}

void append_rows(TextSplit& split, TextTable& table, const RowNumbers& rows) {
  for (int64_t r : rows) {
    split.texts.push_back(std::move(table.rows[r].text));
    split.hashes.push_back(table.keys.texts[r]);
    split.groups.push_back(table.keys.groups[r]);
    split.labels.push_back(table.keys.labels[r]);
  }
}

}  // namespace

TextData load_texts(const DataOptions& options) {
  const Source source = open_source(options);
  TextData data{.name = source.name};
  TextTable train = read_table_of(source.train, nullptr);
  data.label_names = train.keys.label_names;
  check_labels(data.label_names, source.train.name);
  TextTable valid = read_table_of(source.valid, &data.label_names);
  TextTable test = read_table_of(source.test, &data.label_names);
  TextTable unlabelled;
  if (options.unlabelled) unlabelled = read_table_of(source.unlabelled, &kNoLabels);

  const Tables tables{train.keys.view(), valid.keys.view(), test.keys.view(), unlabelled.keys.view(), data.label_names};
  const SplitRows rows = choose_rows(options, tables, source.train.name);
  append_rows(data.train, train, rows.train);
  append_rows(options.merge_valid_into_train ? data.train : data.valid, rows.valid_from_train ? train : valid,
              rows.valid);
  append_rows(data.test, test, rows.test);
  append_rows(data.unlabelled, unlabelled, rows.unlabelled);
  data.splits = rows.fingerprint;
  return data;
}

}  // namespace mpq
