// A session trains and evaluates R replicas of one model in lockstep: same architecture, batches and number of steps;
// each with its own weights, optimizer state, seed, learning rate and number formats. A replica's numbers are the same
// bits whether it runs alone or among others.
#pragma once
#include <array>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "data/loader.h"
#include "nn/format_table.h"
#include "tensor/device.h"
#include "train/feed.h"
#include "train/schedule.h"

namespace mpq {

struct Replica {
  uint64_t seed = 42;  // initialisation and dropout
  Schedule schedule;
  std::vector<LinearSpec> formats;  // nn/model_formats.h
  Pruning pruning = {};
  Lora lora = {};  // where the model has adapters
};

struct SessionOptions {
  int batch_rows = 8;
  int eval_rows = 0;  // rows of an evaluation batch; 0: what fills the device
  int max_tokens = 512;
  int masked_tokens = 0;   // of a row at most, for a masked language model
  double clip = 1.0;       // of the gradient's global norm; 0: off
  bool decay_all = false;  // weight decay on every parameter, biases and LayerNorms included
  bool training = true;    // false: no gradients, no optimizer state
  // One set of parameters for all replicas, which differ in formats (that train nothing). Without training, pruning and
  // adapters.
  bool one_model = false;
  // 2: a batch's gradient is the sum of two halves' (StepOrder::half), each computed as if alone: the same bits from
  // one device and from two. AdamW is then dense everywhere.
  int shards = 1;
  int shard = -1;  // the only one computed here, the other by a partner; -1: all of them
};

// The numbers that a checkpoint keeps beside the weights, to continue bit for bit.
struct OptimizerState {
  std::vector<float> m, v;  // flat, as ParameterSet lays them out
  int64_t step = 0;
};

class Session {
 public:
  Session(Device& device, const Bert& model, std::vector<Replica> replicas, const SessionOptions& options);
  // One replica on two devices of a kind, a shard each; `options` says so. Everything but training is done on the
  // first.
  Session(Device& first, Device& second, const Bert& model, const Replica& replica, SessionOptions options);
  ~Session();

  // Bytes of device memory that such a session takes, a data set not counted.
  static size_t memory(const Device& device, const Bert& model, const std::vector<Replica>& replicas,
                       const SessionOptions& options);

  int replicas() const { return static_cast<int>(replicas_.size()); }
  const Replica& replica(int r) const { return replicas_[r]; }
  const Bert& model() const { return model_; }
  int64_t step() const { return step_; }
  int parameter_sets() const { return options_.one_model ? 1 : replicas(); }  // the first so many replicas have one
  int eval_rows() const { return options_.eval_rows; }
  int64_t nodes() const { return replay_->nodes(); }  // of a recorded step, where the device records

  // Adapters have their initial values from the start. The rest:
  // truncated normal (at two standard deviations) for weights, zeros for biases, ones for LayerNorm gains: as BERT.
  void initialise(int replica);
  void initialise();  // every replica; what those of one seed share is drawn, and brought to the device, once
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

  // Training on a data set in the device's memory: step t takes the rows that the order names. train_steps does the
  // next `count` steps without a word to the host in between. The only way to train in shards. The order's first step
  // is the session's `first_step`.
  void attach(const Split& split, StepOrder order, int64_t first_step = 0);
  std::vector<StepResult> train_steps(int64_t count);

  // Of a masked language model: the sum of the losses of a split's masked tokens, a replica (session_masked.cpp).
  std::vector<double> masked_loss(const Split& split, const std::function<void(int64_t)>& progress = {});

  // [R][M * vocabulary] at a batch's masked tokens. At most eval_rows rows.
  std::vector<std::vector<float>> masked_logits(const Batch& batch);

  // [R][B * classes], without dropout. At most eval_rows rows.
  std::vector<std::vector<float>> logits(const Batch& batch);
  // The same for all rows of a split. `progress(rows done)` may throw Stopped.
  std::vector<std::vector<float>> logits(const Split& split, const std::function<void(int64_t)>& progress);
  // Runs the batch without dropout and says what each Linear reads, replica 0, in the order they run: in the last layer
  // some see [CLS] only. For a session without number formats.
  using SeeInput = std::function<void(const Linear& linear, std::span<const float> x)>;
  void observe(const Batch& batch, const SeeInput& see);

  // Masks of weights, where the replica prunes them: drawn from its weights as they are, or taken over. From then on a
  // pruned weight is exactly zero, whatever its format makes of a zero, without gradient or moments. prune() again
  // takes more away and gives nothing back.
  void prune(int replica);
  void set_masks(int replica, const WeightMasks& masks);
  const WeightMasks& masks(int replica) const { return masks_[replica]; }

  OptimizerState optimizer_state(int replica);
  void restore(int replica, const OptimizerState& state);

 private:
  // Batches are prepared, and losses kept, for so many steps at a time. As often the rows of the word embedding that
  // few steps touch are brought up to date, so that no step has to catch up on more.
  static constexpr int64_t kWindow = 64;
  // Evaluation prepares fewer, as its batches are larger; but not one at a time: the device would wait for each.
  static constexpr int64_t kEvalWindow = 16;

  // Training in shards (session_shards.cpp).
  void attach_shards(const Split& split, const StepOrder& order);
  void detach();
  void enqueue_shards(int64_t step);
  void shard_gradient(size_t feed, const BertBatch& batch, uint32_t first, int64_t batch_rows);
  void update_from_shards();
  Tensor loss_in(const Tensor& grads) const;
  std::vector<StepResult> steps_on_both(int64_t count);

  struct Memory;
  void reserve(int64_t steps);
  void fill_tables(int64_t steps);
  void set_adapters(int replica);
  void copy(const Parameter& p, int from, int to);  // from a replica to another
  BertBatch load(const Batch& batch);
  BertBatch buffers(const Feed& feed, int64_t step) const;
  ChosenRows masked_in(const BatchSlots& slots, int32_t sequences, int64_t rows) const;
  Tensor forward(const BertBatch& batch, const Tape::Observer& observer = {});
  std::vector<std::vector<float>> read_logits(const Tensor& logits);
  Tensor forward_backward(const BertBatch& batch);
  // Of the rows from `first` on of a batch of `batch_rows` (0: all of it is here). Returns the loss [1].
  Tensor gradients(const BertBatch& batch, BertTensors& tensors, uint32_t first, int64_t batch_rows);
  void clip(const Tensor& rows, const int32_t* row_count);
  void adamw();
  void update(const BertBatch& batch);
  void adamw_rows(const int32_t* rows, const int32_t* count, int64_t most, const Tensor& gradient);
  void enqueue_step(int64_t step);
  void load_batch(size_t feed, const BertBatch& batch);
  void end_step(const Tensor& loss);
  std::vector<StepResult> steps(int64_t count);
  bool word_trained() const { return !model_.word->frozen; }
  bool word_by_rows() const { return word_trained() && model_.word->sparse && options_.shards == 1; }
  void catch_up();  // brings every row of the word embedding up to date
  void quantize_weights();
  void quantize_tables(const QuantizeWeights::Rows& words);
  void tables_of_step(const BertBatch& batch);
  void mask(const Tensor& flat);  // where weights are pruned
  void set_step(int64_t step);
  StepResult result(const Tensor& loss);
  void read_history(int64_t first, int64_t last, std::vector<StepResult>& results);
  void changed() { caught_up_ = weights_ready_ = false; }

  Device& device_;
  const Bert& model_;
  std::vector<Replica> replicas_;
  SessionOptions options_;
  FormatTable formats_;
  std::unique_ptr<Memory> memory_;
  std::vector<std::unique_ptr<Feed>> feeds_;  // one a shard computed here
  std::unique_ptr<Replay> replay_;
  std::map<std::array<int64_t, 3>, uint64_t> records_;  // of steps, by rows, sequences and masked rows
  int64_t step_ = 0;
  std::vector<int64_t> step_rows_;      // in shards: rows of every step's whole batch
  std::unique_ptr<Session> partner_;    // on the second device
  std::unique_ptr<Exchange> exchange_;  // this device's end of the sums
  std::vector<WeightMasks> masks_;      // of every replica, where its weights are pruned
  bool caught_up_ = false, weights_ready_ = false;
  std::vector<int32_t> last_tokens_;  // the distinct tokens of the last batch from the host
};

}  // namespace mpq
