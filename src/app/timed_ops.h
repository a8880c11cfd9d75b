// Where the time of a step goes: a device whose operations are another device's, each call timed.
#pragma once
#include <map>
#include <string>

#include "tensor/device.h"

namespace mpq {

// Times calls by Device::seconds.
class TimedOps final : public Ops {
 public:
  struct Cost {
    int64_t calls = 0;
    double seconds = 0;
    double flops = 0;  // of matrix products; a gradient counts twice its forward
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
  void attention(const Attention& op) override;
  void attention_grad(const AttentionGrad& op) override;
  void residual_norm(const ResidualNorm& op) override;
  void residual_norm_grad(const ResidualNormGrad& op) override;
  void select_first(const SelectFirst& op) override;
  void select_first_grad(const SelectFirstGrad& op) override;
  void cross_entropy(const CrossEntropy& op) override;
  void clip_norm(const ClipNorm& op) override;
  void adamw(const AdamW& op) override;
  void adamw_rows(const AdamWRows& op) override;
  void quantize_copies(const QuantizedCopies& copies, const Tensor& x, const Ragged& ragged) override;
  void add(const Tensor& from, const Tensor& to) override;
  void fill(const Tensor& t, float value) override;
  void scatter_rows(const ScatterRows& op) override;
  void prepare_batches(const PrepareBatches& op) override;
  size_t prepare_scratch(int64_t tokens) override;
  void load_batch(const LoadBatch& op) override;
  void end_step(const EndStep& op) override;

 private:
  template <class Call>
  void time(const std::string& name, double flops, Call call);

  Device& device_;
  Ops& ops_;
  std::map<std::string, Cost> costs_;
};

class TimedDevice final : public Device {
 public:
  explicit TimedDevice(Device& device) : device_(device), ops_(device) {}
  std::string describe() const override { return device_.describe(); }
  Arena reserve(size_t bytes) override { return device_.reserve(bytes); }
  void release(const Arena& arena) override { device_.release(arena); }
  size_t free_bytes() const override { return device_.free_bytes(); }
  int replicas_at_once() const override { return device_.replicas_at_once(); }
  int rows_at_once() const override { return device_.rows_at_once(); }
  std::unique_ptr<Replay> replay() override;  // runs anew each time: records would hide the operations
  double seconds(const std::function<void()>& work) override { return device_.seconds(work); }
  int64_t bucket(int64_t rows) const override { return device_.bucket(rows); }
  void copy_in(void* device, const void* host, size_t bytes) override { device_.copy_in(device, host, bytes); }
  void copy_out(void* host, const void* device, size_t bytes) override { device_.copy_out(host, device, bytes); }
  TimedOps& ops() override { return ops_; }

 private:
  Device& device_;
  TimedOps ops_;
};

}  // namespace mpq
