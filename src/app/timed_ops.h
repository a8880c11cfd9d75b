// Where the time of a step goes: a device whose operations are another device's, each call timed.
#pragma once
#include <map>
#include <string>

#include "app/op_cost.h"
#include "tensor/device_around.h"

namespace mpq {

// Times calls by Device::time.
class TimedOps final : public Ops {
 public:
  // Of all calls.
  struct Cost {
    int64_t calls = 0;
    WorkTime time;
    OpCost work;
  };

  explicit TimedOps(Device& device) : device_(device), ops_(device.ops()) {}
  // By operation; products by their shape too, and apart where they run on one row a sequence ("cls").
  const std::map<std::string, Cost>& costs() const { return costs_; }
  void reset() { costs_.clear(); }

  void quantize_weights(const QuantizeWeights& op) override;
  void quantize_weights_grad(const QuantizeWeights& op) override;
  void quantize_grad(const QuantizeGrad& op) override;
  void embed(const Embed& op) override;
  void embed_grad(const EmbedGrad& op) override;
  void linear(std::span<const Linear1> problems) override;
  void linear_grad(std::span<const Linear1Grad> problems) override;
  void activate(const Linear1& op) override;
  void activate_grad(const Linear1Grad& op) override;
  void attention(const Attention& op) override;
  void attention_grad(const AttentionGrad& op) override;
  void residual_norm(const ResidualNorm& op) override;
  void residual_norm_grad(const ResidualNormGrad& op) override;
  void prune(std::span<const Prune> ops) override;
  void prune_grad(std::span<const PruneGrad> ops) override;
  void select_first(const SelectFirst& op) override;
  void select_first_grad(const SelectFirstGrad& op) override;
  void gather_rows(const GatherRows& op) override;
  void cross_entropy(const CrossEntropy& op) override;
  Tensor wide_cross_entropy(const WideCrossEntropy& op) override;
  void clip_norm(const ClipNorm& op) override;
  void adamw(const AdamW& op) override;
  void adamw_rows(const AdamWRows& op) override;
  void quantize_copies(const QuantizedCopies& copies, const Tensor& x, const Ragged& ragged) override;
  bool need_whole(const NeedWhole& op) override;
  void add(const Tensor& from, const Tensor& to) override;
  void fill(const Tensor& t, float value) override;
  void apply_mask(const Tensor& mask, const Tensor& to) override;
  void scatter_rows(const ScatterRows& op) override;
  void prepare_batches(const PrepareBatches& op) override;
  size_t prepare_scratch(int64_t tokens) override;
  void load_batch(const LoadBatch& op) override;
  void end_step(const EndStep& op) override;

 private:
  template <class Call>
  void time(const std::string& name, const OpCost& work, Call call);

  Device& device_;
  Ops& ops_;
  std::map<std::string, Cost> costs_;
};

class TimedDevice final : public DeviceAround {
 public:
  explicit TimedDevice(Device& device) : DeviceAround(device), ops_(device) {}
  std::unique_ptr<Replay> replay() override;  // runs anew each time: records would hide the operations
  TimedOps& ops() override { return ops_; }

 private:
  TimedOps ops_;
};

}  // namespace mpq
