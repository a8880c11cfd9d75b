#include "autograd/tape.h"

#include <utility>

namespace mpq {

Tape::GradTarget Tape::grad_target(Var v) {
  const bool accumulate = v->has_grad;
  if (!accumulate) {
    if (!v->grad) v->grad = tensor(v->data.shape);
    v->has_grad = true;
  }
  return {v->grad, accumulate};
}

Tensor Tape::grad_of(Var v) {
  if (!v->has_grad) {
    const Tensor grad = grad_target(v).grad;
    ops_.fill(grad, 0.0f);
  }
  return v->grad;
}

void Tape::pass_grad(Var from, Var to) {
  if (!from->has_grad) return;
  if (to->has_grad) return ops_.add(from->grad, to->grad);
  to->grad = from->grad;
  to->has_grad = true;
}

void Tape::train_formats() {
  if (!trained_formats_.empty()) ops_.quantize_grad({trained_formats_});
  trained_formats_.clear();
}

void Tape::linears_have_gradients() {
  train_formats();
  if (const auto work = std::exchange(after_linears_, nullptr)) work();
}

void Tape::backward() {
  for (auto step = log_.rbegin(); step != log_.rend(); ++step) (*step)();
  log_.clear();
  linears_have_gradients();  // where nothing below them trains
}

}  // namespace mpq
