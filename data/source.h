// Turns --data into the splits it stands for, without reading them yet.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/row.h"

namespace mpq {

struct SplitSource {
  std::string name;                        // for messages
  std::string key;                         // equal keys mean equal rows: names caches
  std::function<std::vector<Row>()> read;  // UserError: see the readers
};

// What every unlabelled row has for a label.
inline const std::vector<std::string> kNoLabels{""};

struct Source {
  std::string name;  // for people
  SplitSource train;
  std::optional<SplitSource> valid, test, unlabelled;
  std::string default_tokenizer;  // a path, or sentencepiece:N
  bool has_columns = false;       // a table, so that --text-column and the like mean something
};

// `synthetic`; `imdb` (the folder or archive that MPQ_IMDB names, else what data/fetch_imdb.sh fetched); or a path:
//   a folder with train/ and test/, or with aclImdb/ or aclImdb_v1.tar.gz in it, or such an archive itself;
//   a folder with train.tsv or train.csv, and perhaps valid.* or dev.*, test.*, and unlabelled.* (labels ignored);
//   a TSV or CSV file (the training split alone);
//   a text file, or a folder of them (data/text_reader.h): rows without labels, for pretraining. Tables may be
//   compressed (.gz .xz .zst .bz2).
// --valid and --test files replace what the source brings; a share given to --valid does not. UserError if the path is
// none of these.
Source open_source(const DataOptions& options);

}  // namespace mpq
