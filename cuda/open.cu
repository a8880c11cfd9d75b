// The CUDA device: memory, one stream for a step's main chain and one beside it.
#include <algorithm>
#include <memory>
#include <vector>

#include "base/text.h"
#include "cuda/common.cuh"
#include "cuda/cuda_ops.h"
#include "cuda/exchange.h"
#include "cuda/linear_wide.h"
#include "cuda/peak.h"
#include "cuda/replay.h"
#include "cuda/requirements.h"
#include "tensor/device.h"

namespace mpq {

void make_current(int device) {
  int current = -1;
  check_cuda(cudaGetDevice(&current), "device");
  if (current != device) check_cuda(cudaSetDevice(device), "choosing the device");
}

// Of the thread's current device: GPUs of one machine may differ.
bool launches_early() {
  int device = 0, major = 0;
  check_cuda(cudaGetDevice(&device), "device");
  check_cuda(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device), "device");
  return major >= 9;
}

namespace {

constexpr size_t kScratch = size_t{128} << 20;  // of a lane; in bf16 the main one has more, for wide Linears

class CudaDevice final : public Device {
 public:
  CudaDevice(int number, Precision precision) : number_(number), precision_(precision) {
    check_cuda(cudaSetDevice(number), "choosing the device");
    check_cuda(cudaGetDeviceProperties(&properties_, number), "device properties");
    require_supported({properties_.name, properties_.major, properties_.minor, properties_.sharedMemPerBlockOptin});
    main_ = lane(precision == Precision::bf16 ? WideLinears::kScratch : kScratch);
    side_ = lane(kScratch);
    ops_ = std::make_unique<CudaOps>(main_, side_, precision);
  }
  ~CudaDevice() override {
    cudaSetDevice(number_);
    cudaDeviceSynchronize();
    ops_.reset();
    for (void* block : blocks_) cudaFree(block);
    for (const Lane& lane : {main_, side_}) cudaStreamDestroy(lane.stream);
  }

  std::string describe() const override {
    const std::string& products = ops_->wide_products();
    return fmt::format("cuda:{}, {}, {}, {}{}", number_, properties_.name, human_bytes(properties_.totalGlobalMem),
                       to_text(precision_), products.empty() ? "" : ", " + products);
  }

  Arena reserve(size_t bytes) override {
    make_current(number_);
    bytes = std::max<size_t>(bytes, 4096);
    void* data = nullptr;
    const cudaError_t status = cudaMalloc(&data, bytes);
    if (status != cudaSuccess) cudaGetLastError();  // or the next call reports it again
    check_cuda(status, "memory");
    blocks_.push_back(data);
#ifdef MPQ_DEBUG
    check_cuda(cudaMemsetAsync(data, 0xFF, bytes, main_.stream), "memory");  // NaN: reading what nobody wrote shows
#endif
    return Arena(static_cast<std::byte*>(data), bytes);
  }
  void release(const Arena& arena) override {
    const auto at = std::find(blocks_.begin(), blocks_.end(), static_cast<const void*>(arena.base()));
    if (at == blocks_.end()) return;
    cudaSetDevice(number_);
    cudaStreamSynchronize(main_.stream);
    cudaFree(*at);  // nobody can mend what fails here, and destructors come by
    blocks_.erase(at);
  }
  size_t free_bytes() const override {
    make_current(number_);
    size_t free = 0, total = 0;
    check_cuda(cudaMemGetInfo(&free, &total), "free memory");
    return free - std::min(free, size_t{256} << 20);  // graphs and the driver want some
  }

  int replicas_at_once() const override { return 64; }
  int rows_at_once() const override { return 512; }

  void copy_in(void* device, const void* host, size_t bytes) override {
    make_current(number_);
    ops_->join();
    check_cuda(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, main_.stream), "copy to the device");
    check_cuda(cudaStreamSynchronize(main_.stream), "copy to the device");  // the host's memory may go now
  }
  void copy_out(void* host, const void* device, size_t bytes) override {
    make_current(number_);
    ops_->join();
    check_cuda(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, main_.stream), "copy from the device");
    check_cuda(cudaStreamSynchronize(main_.stream), "copy from the device");
  }
  Ops& ops() override {
    make_current(number_);
    return *ops_;
  }

  std::unique_ptr<Replay> replay() override { return open_graphs(*ops_, main_.stream, number_); }
  WorkTime time(const std::function<void()>& work) override {
    make_current(number_);
    return time_in_graph(*ops_, main_.stream, work);
  }
  double run_multiply_adds() override {
    make_current(number_);
    return mpq::run_multiply_adds(precision_, properties_.multiProcessorCount, main_.scratch_as<float>(), main_.stream);
  }
  void run_copy(void* to, const void* from, size_t bytes) override {
    make_current(number_);
    mpq::run_copy(to, from, bytes, properties_.multiProcessorCount, main_.stream);
  }
  // Steps of at least 128 rows; large batches in sixteenths of their power of two: 6 % of waste at most.
  int64_t bucket(int64_t rows) const override {
    int64_t step = 128;
    while (step * 32 <= rows) step *= 2;
    return ceil_div(rows, step) * step;
  }
  // The same GPU opened twice (tests) has no other way than the host's.
  ExchangeEnds exchange_with(Device& other) override {
    const auto* gpu = dynamic_cast<CudaDevice*>(&other);
    if (!gpu || gpu->number_ == number_) return Device::exchange_with(other);
    ops_->waits_for_others = gpu->ops_->waits_for_others = true;
    return open_nccl({number_, main_.stream, ops_.get()}, {gpu->number_, gpu->main_.stream, gpu->ops_.get()});
  }

 private:
  Lane lane(size_t scratch) {
    Lane lane;
    check_cuda(cudaStreamCreateWithFlags(&lane.stream, cudaStreamNonBlocking), "stream");
    const Arena memory = reserve(scratch + Lane::kCounters * sizeof(uint32_t));
    Arena arena = memory;
    lane.counters = arena.array<uint32_t>(Lane::kCounters);
    lane.scratch = arena.array<std::byte>(static_cast<int64_t>(scratch));
    lane.scratch_bytes = scratch;
    check_cuda(cudaMemsetAsync(lane.counters, 0, Lane::kCounters * sizeof(uint32_t), lane.stream), "counters");
    check_cuda(cudaStreamSynchronize(lane.stream), "counters");
    return lane;
  }

  int number_;
  Precision precision_;
  cudaDeviceProp properties_{};
  std::vector<void*> blocks_;
  Lane main_, side_;
  std::unique_ptr<CudaOps> ops_;
};

int device_number(const std::string& name) {
  if (name == "cuda") return 0;
  const auto number = parse_int(std::string_view(name).substr(std::string_view("cuda:").size()));
  if (!number || *number < 0)
    throw UserError(fmt::format("--device {}: no such device", name), "allowed: cpu, cuda, cuda:0, cuda:1 ...");
  return static_cast<int>(*number);
}

}  // namespace

std::unique_ptr<Device> open_cuda(const std::string& name, Precision precision) {
  const int number = device_number(name);
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess || count == 0) {
    cudaGetLastError();
    throw UserError(fmt::format("--device {}: no CUDA device here ({})", name, cudaGetErrorString(status)),
                    "use --device cpu");
  }
  if (number >= count)
    throw UserError(fmt::format("--device {}: this machine has {} CUDA device(s)", name, count),
                    fmt::format("allowed: cuda:0 ... cuda:{}", count - 1));
  return std::make_unique<CudaDevice>(number, precision);
}

CudaOps::CudaOps(Lane main, Lane side, Precision precision)
    : main_(main), side_(side), precision_(precision), wide_(std::make_unique<WideLinears>(precision, main)) {
  check_cuda(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "event");
}
CudaOps::~CudaOps() { cudaEventDestroy(event_); }

const std::string& CudaOps::wide_products() const { return wide_->text(); }

const Lane& CudaOps::fork() {
  check_cuda(cudaEventRecord(event_, main_.stream), "fork");
  check_cuda(cudaStreamWaitEvent(side_.stream, event_, 0), "fork");
  forked_ = true;
  return side_;
}

void CudaOps::join() {
  if (!forked_) return;
  check_cuda(cudaEventRecord(event_, side_.stream), "join");
  check_cuda(cudaStreamWaitEvent(main_.stream, event_, 0), "join");
  forked_ = false;
}

}  // namespace mpq
