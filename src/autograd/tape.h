// Reverse-mode differentiation as a log: every operation of autograd/ops.h runs its forward at once and records a
// closure that runs its gradient. Recording order is already topological, so backward() plays the log from its end.
#pragma once
#include <deque>
#include <functional>
#include <span>
#include <vector>

#include "tensor/arena.h"
#include "tensor/ops.h"

namespace mpq {

// A tensor on the tape with the place of its gradient.
struct Value {
  Tensor data;
  Tensor grad;  // taken from the arena when the first consumer's gradient arrives
  bool has_grad = false;
  bool wants_grad = true;  // false: nothing that trains is below
  // Of a Linear's output: its activation and what that saved. Where its only consumer multiplies the slope into the
  // gradient, it says so here.
  Activation activation = Activation::none;
  Tensor saved;
  bool slope_applied = false;
  bool borrowed = false;  // data belong to another value: nobody may write them
};
using Var = Value*;  // owned by the tape; valid until its reset()

class Tape {
 public:
  // With `recording` false only forwards run and nothing is kept for gradients (evaluation).
  Tape(Ops& ops, Arena& arena, int replicas, bool recording)
      : ops_(ops), arena_(arena), replicas_(replicas), recording_(recording) {}

  Ops& ops() const { return ops_; }
  Arena& arena() const { return arena_; }
  int replicas() const { return replicas_; }
  // Of what is computed from here on. What is there already, of one replica, is then read by all of them.
  void set_replicas(int replicas) { replicas_ = replicas; }
  bool recording() const { return recording_; }

  // Called before each product of Linears, with what it is about to multiply.
  using Observer = std::function<void(std::span<const Linear1>)>;
  void observe(Observer observer) { observer_ = std::move(observer); }
  bool observed() const { return bool(observer_); }
  void run(std::span<const Linear1> problems) {
    if (observer_) observer_(problems);
    ops_.linear(problems);
  }

  Tensor tensor(Shape shape) { return arena_.tensor(shape, replicas_); }
  Var var(Shape shape) { return &values_.emplace_back(Value{.data = tensor(shape)}); }
  // The same data with a gradient of its own.
  Var borrow(Var v) {
    return &values_.emplace_back(Value{.data = v->data, .wants_grad = v->wants_grad, .borrowed = true});
  }

  // The first gradient writer sets, later ones add: `accumulate` says which this one is.
  struct GradTarget {
    Tensor grad;
    bool accumulate;
  };
  GradTarget grad_target(Var v);
  // The finished gradient of v; every consumer has run. Zeros if v has none.
  Tensor grad_of(Var v);
  // Adds the finished gradient of `from` to that of `to`, or hands it over where `to` has none yet.
  void pass_grad(Var from, Var to);

  // The gradient of what made `result`.
  void record(Var result, std::function<void()> backward) {
    if (recording_ && result->wants_grad) log_.push_back(std::move(backward));
  }
  // To be trained by QuantizeGrad, at the next train_formats().
  void train_format(const QuantizeGrad::Item& item) { trained_formats_.push_back(item); }
  // Where a device has time beside what comes next: many formats in one call.
  void train_formats();
  // `work` is what has to wait for the gradients of all Linears, and for no other.
  void after_linears(std::function<void()> work) { after_linears_ = std::move(work); }
  void linears_have_gradients();
  void backward();

 private:
  Ops& ops_;
  Arena& arena_;
  int replicas_;
  bool recording_;
  Observer observer_;
  std::deque<Value> values_;
  std::vector<std::function<void()>> log_;
  std::vector<QuantizeGrad::Item> trained_formats_;
  std::function<void()> after_linears_;
};

}  // namespace mpq
