// A session trains and evaluates R replicas of one model in lockstep: same architecture, batches and number of steps;
// each with its own weights, optimizer state, seed, learning rate and number formats. A replica's numbers are the same
// bits whether it runs alone or among others.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "data/loader.h"
#include "nn/bert.h"
#include "tensor/device.h"
#include "train/schedule.h"

namespace mpq {

struct Replica {
  uint64_t seed = 42;  // initialisation and dropout
  Schedule schedule;
  std::vector<LinearSpec> formats;  // one a Linear
};

struct SessionOptions {
  int batch_rows = 8, eval_rows = 16, max_tokens = 512;
  double clip = 1.0;       // of the gradient's global norm; 0: off
  bool decay_all = false;  // weight decay on every parameter, biases and LayerNorms included
  bool training = true;    // false: no gradients, no optimizer state
};

// The numbers that a checkpoint keeps beside the weights, to continue bit for bit.
struct OptimizerState {
  std::vector<float> m, v;  // flat, as ParameterSet lays them out
  int64_t step = 0;
};

class Session {
 public:
  Session(Device& device, const Bert& model, std::vector<Replica> replicas, const SessionOptions& options);
  ~Session();

  // Bytes of device memory that such a session takes.
  static size_t memory(const Bert& model, const std::vector<Replica>& replicas, const SessionOptions& options);

  int replicas() const { return static_cast<int>(replicas_.size()); }
  const Replica& replica(int r) const { return replicas_[r]; }
  const Bert& model() const { return model_; }
  int64_t step() const { return step_; }

  // Truncated normal (at two standard deviations) for weights, zeros for biases, ones for LayerNorm gains: as BERT.
  void initialise(int replica);
  // One parameter's values, up to date.
  std::vector<float> get(int replica, const Parameter& p);
  void set(int replica, const Parameter& p, std::span<const float> values);
  // Gradients of the last step, before clipping (tests and reference runs). The word embedding's comes whole [V, C].
  std::vector<float> gradient(int replica, const Parameter& p);

  struct StepResult {
    std::vector<float> loss, norm;  // a replica; norm before clipping
  };
  StepResult train_step(const Batch& batch);
  // Loss and gradients, but no update.
  StepResult compute_gradients(const Batch& batch);

  // [R][B * classes], without dropout. At most eval_rows rows.
  std::vector<std::vector<float>> logits(const Batch& batch);

  OptimizerState optimizer_state(int replica);
  void restore(int replica, const OptimizerState& state);

 private:
  struct Memory;
  BertBatch load(const Batch& batch);
  StepResult forward_backward(const Batch& batch);
  void catch_up();  // brings every row of the word embedding up to date
  void quantize_weights();
  void changed() { caught_up_ = weights_ready_ = false; }

  Device& device_;
  const Bert& model_;
  std::vector<Replica> replicas_;
  SessionOptions options_;
  FormatTable formats_;
  std::unique_ptr<Memory> memory_;
  int64_t step_ = 0;
  bool caught_up_ = false, weights_ready_ = false;
  TokenSegments segments_;            // of the last training batch, on the device
  std::vector<int32_t> last_tokens_;  // its distinct tokens
};

}  // namespace mpq
