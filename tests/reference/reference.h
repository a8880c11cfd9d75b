// `make reference MPQ_REFERENCE=DIR`: every case found in a folder of reference outputs is run through the program.
// One file a group; each group prints its name, how many cases it ran and how many differ. On another device than the
// CPU (--device) only the groups run that compute there.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "tensor/device.h"

namespace mpq::reference {

struct Setting {
  std::filesystem::path folder;
  std::string device_name;
  Device& device;
  bool on_cpu() const { return device_name == "cpu"; }
};

struct Result {
  std::string group;
  bool found = false;  // false: the folder has no such group; named and skipped
  int64_t cases = 0, mismatches = 0;
  std::vector<std::string> first;  // what differs, for the first few mismatches
  void mismatch(std::string what) {
    if (mismatches++ < 5) first.push_back(std::move(what));
  }
};

Result check_quantizers(const Setting& setting);   // golden/quantizers.{json,safetensors}
Result check_modern(const Setting& setting);       // golden/modern.{json,safetensors}, bits too
Result check_layers(const Setting& setting);       // golden/layers.{json,safetensors}
Result check_wordpiece(const Setting& setting);    // golden/wordpiece.jsonl
Result check_imdb_tokens(const Setting& setting);  // golden/wordpiece_imdb_*.tsv with data/imdb/*.tsv.xz
Result check_hf_bert(const Setting& setting);      // golden/hf_bert/
Result check_tpe_traces(const Setting& setting);   // optuna/tpe_traces.json

}  // namespace mpq::reference
