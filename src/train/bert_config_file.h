// config.json as Hugging Face writes it for BertForSequenceClassification, and BertConfig.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "nn/bert.h"

namespace mpq {

struct BertConfigFile {
  BertConfig config;
  std::vector<std::string> labels;  // [config.classes]
  int pad_token = 0;
};

// UserError: another architecture than mpq's BERT, or a size out of range.
BertConfigFile read_bert_config(const std::filesystem::path& path);
void write_bert_config(const std::filesystem::path& path, const BertConfigFile& file, Head head = Head::classifier);

}  // namespace mpq
