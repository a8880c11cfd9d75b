// The parameters of a model: dotted names equal to Hugging Face's, values side by side in flat buffers, so that one
// AdamW, one norm, one copy serves them all.
#pragma once
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/ops.h"

namespace mpq {

struct Parameter {
  std::string name;
  Shape shape;
  int64_t offset = 0;   // in the flat buffers
  bool decay = false;   // weight decay applies (Hugging Face: not to biases and LayerNorms)
  bool sparse = false;  // gradient comes in rows (the word embedding): kept behind all dense ones
  bool frozen = false;  // has no gradient, no update, no decay, and no part in the norm

  int64_t room() const { return (shape.size() + 15) / 16 * 16; }  // floats in the flat buffers: its own, then zeros
};

// What formats train, and adapters: neither counted nor written as a part of the model.
bool is_extra(const Parameter& p);

class ParameterSet {
 public:
  // Adds in order; sparse parameters must come last. Offsets are multiples of 16. The reference stays valid.
  const Parameter& add(std::string name, Shape shape, bool decay, bool sparse = false);
  // Behind the last parameter, so many floats that belong to none: zeros that nobody updates, with a gradient if the
  // parameter's is dense. Products read a table as if it had a few rows more.
  void leave_room(int64_t floats);
  const Parameter* find(std::string_view name) const;
  // Freezes every parameter that the pattern names; how many that are.
  int freeze(const std::string& pattern);

  const std::deque<Parameter>& all() const { return parameters_; }
  int64_t size() const { return size_; }              // floats of a flat buffer, padding included
  int64_t dense_size() const { return dense_size_; }  // of the gradient buffer
  int64_t count() const;                              // parameters, as models are counted
  int64_t frozen_count() const;                       // of these, those that are not trained
  std::vector<ParameterRange> dense_ranges() const;   // trained ones; neighbours of equal decay merged

 private:
  std::deque<Parameter> parameters_;
  int64_t size_ = 0, dense_size_ = 0;
};

// Whether a shell pattern (* ? [abc], * goes over dots too) names a parameter or a Linear. The leading "bert." of names
// may be left away.
bool matches(const std::string& pattern, const std::string& name);

// The view of a parameter in a flat buffer [R][size].
Tensor view(const Tensor& flat, const Parameter& p);

}  // namespace mpq
