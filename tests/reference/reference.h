// `make reference MPQ_REFERENCE=DIR`: every case found in a folder of reference outputs is run through the program.
// One file a group; each group prints its name, how many cases it ran and how many differ.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace mpq::reference {

struct Result {
  std::string group;
  bool found = false;  // false: the folder has no such group; named and skipped
  int64_t cases = 0, mismatches = 0;
  std::vector<std::string> first;  // what differs, for the first few mismatches
  void mismatch(std::string what) {
    if (mismatches++ < 5) first.push_back(std::move(what));
  }
};

Result check_quantizers(const std::filesystem::path& folder);   // golden/quantizers.{json,safetensors}
Result check_modern(const std::filesystem::path& folder);       // golden/modern.{json,safetensors}, bits too
Result check_layers(const std::filesystem::path& folder);       // golden/layers.{json,safetensors}
Result check_wordpiece(const std::filesystem::path& folder);    // golden/wordpiece.jsonl
Result check_imdb_tokens(const std::filesystem::path& folder);  // golden/wordpiece_imdb_*.tsv with data/imdb/*.tsv.xz
Result check_hf_bert(const std::filesystem::path& folder);      // golden/hf_bert/
Result check_tpe_traces(const std::filesystem::path& folder);   // optuna/tpe_traces.json

}  // namespace mpq::reference
