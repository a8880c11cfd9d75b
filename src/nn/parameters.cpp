#include "nn/parameters.h"

#include <fnmatch.h>

#include <utility>

namespace mpq {

bool is_extra(const Parameter& p) { return p.name.ends_with(".quantizer") || p.name == "adapters"; }

const Parameter& ParameterSet::add(std::string name, Shape shape, bool decay, bool sparse) {
  check(sparse || size_ == dense_size_, "dense parameter {} after a sparse one", name);
  parameters_.push_back({std::move(name), shape, size_, decay, sparse});
  size_ += parameters_.back().room();
  if (!sparse) dense_size_ = size_;
  return parameters_.back();
}

void ParameterSet::leave_room(int64_t floats) {
  const bool dense = size_ == dense_size_;
  size_ += (floats + 15) / 16 * 16;
  if (dense) dense_size_ = size_;
}

const Parameter* ParameterSet::find(std::string_view name) const {
  for (const Parameter& p : parameters_)
    if (p.name == name) return &p;
  return nullptr;
}

int ParameterSet::freeze(const std::string& pattern) {
  int frozen = 0;
  for (Parameter& p : parameters_)
    if (matches(pattern, p.name)) p.frozen = true, ++frozen;
  return frozen;
}

int64_t ParameterSet::count() const {
  int64_t n = 0;
  for (const Parameter& p : parameters_)
    if (!is_extra(p)) n += p.shape.size();
  return n;
}

int64_t ParameterSet::frozen_count() const {
  int64_t n = 0;
  for (const Parameter& p : parameters_)
    if (p.frozen && !is_extra(p)) n += p.shape.size();
  return n;
}

std::vector<ParameterRange> ParameterSet::dense_ranges() const {
  std::vector<ParameterRange> ranges;
  bool adjacent = false;  // the last range ends where this parameter begins
  for (const Parameter& p : parameters_) {
    if (p.sparse) continue;
    if (p.frozen) {
      adjacent = false;
      continue;
    }
    const int64_t end = p.offset + p.shape.size();
    // The padding between neighbours is zero and stays zero under AdamW.
    if (std::exchange(adjacent, true) && ranges.back().decay == p.decay)
      ranges.back().end = end;
    else
      ranges.push_back({p.offset, end, p.decay});
  }
  return ranges;
}

bool matches(const std::string& pattern, const std::string& name) {
  constexpr std::string_view prefix = "bert.";
  return ::fnmatch(pattern.c_str(), name.c_str(), 0) == 0 ||
         (name.starts_with(prefix) && ::fnmatch(pattern.c_str(), name.c_str() + prefix.size(), 0) == 0);
}

Tensor view(const Tensor& flat, const Parameter& p) {
  return {flat.f32() + p.offset, p.shape, DType::f32, flat.replicas, flat.replica_stride};
}

}  // namespace mpq
