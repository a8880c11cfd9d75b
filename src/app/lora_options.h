// --lora and --adapter: low-rank adapters beside the Linears of a base that stays as it is.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "app/command_line.h"
#include "train/adapter_folder.h"

namespace mpq {

// rank=2:4:8,alpha=16,dropout=0.05,targets=query,value
struct LoraText {
  std::vector<Lora> loras;  // one a rank
  double dropout = 0;
  std::vector<std::string> targets;
};
LoraText parse_lora(const std::string& text);  // UserError

// A model's adapters, and what each replica makes of them.
struct Adaptation {
  AdapterPlan plan;
  std::vector<Lora> loras;  // one where they come from a folder
};
// UserError for targets that the model lacks, and for a rank above what a target's smaller side can hold.
Adaptation adapt(const BertConfig& config, const LoraText& text);
// "rank 8, alpha 16 beside 4 of 14 Linears: 4,354 parameters are trained, 0.10 %"
std::string describe_adapters(const Bert& model, const Lora& lora);

// Of mpq train.
struct LoraArgs {
  std::string lora, adapter;
  bool merge = false;

  void add_to(CommandLine& line);
  bool asked() const { return !lora.empty() || !adapter.empty(); }
  // UserError for options that contradict each other, or lack --init.
  void check_against(const CommandLine& line) const;
  // Of one adapter; nothing where none is asked for. `folder`: what --adapter named.
  Adaptation resolve(const BertConfig& config, const std::optional<AdapterFolder>& folder) const;
};

// --adapter of commands that read a trained one.
struct AdapterArgs {
  std::string folder;

  void add_to(CommandLine& line);
  // Nothing where none is asked for. What the folder says takes its place in the base (read_adapter).
  std::optional<AdapterFolder> read(Checkpoint& base) const;
};
inline AdapterPlan plan_of(const std::optional<AdapterFolder>& adapter) {
  return adapter ? adapter->plan : AdapterPlan{};
}
inline Lora lora_of(const std::optional<AdapterFolder>& adapter) { return adapter ? adapter->lora : Lora{}; }

}  // namespace mpq
