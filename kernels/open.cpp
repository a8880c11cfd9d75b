// The CPU device: memory, and the operations of the best instruction set this machine has. Compiled once, at the
// baseline.
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>
#include <memory>
#include <numeric>
#include <vector>

#include "base/parallel.h"
#include "base/simd.h"
#include "kernels/cpu.h"
#include "kernels/peak.h"
#include "tensor/device.h"

namespace mpq {
namespace {

class AlignedBuffer {
 public:
  ~AlignedBuffer() { std::free(data_); }
  float* at_least(int64_t floats) {
    if (floats > size_) {
      std::free(data_);
      size_ = (floats + floats / 4 + 15) / 16 * 16;
      data_ = static_cast<float*>(std::aligned_alloc(64, static_cast<size_t>(size_) * sizeof(float)));
      if (!data_) throw std::bad_alloc();
    }
    return data_;
  }

 private:
  float* data_ = nullptr;
  int64_t size_ = 0;
};

class CpuDevice final : public Device {
 public:
  explicit CpuDevice(Simd isa) : isa_(isa) {
    if (isa == Simd::avx512)
      ops_ = std::make_unique<avx512::CpuOps>();
    else
      ops_ = std::make_unique<avx2::CpuOps>();
  }
  ~CpuDevice() override {
    for (auto [data, size] : blocks_) ::munmap(data, size);
  }
  size_t free_bytes() const override {
    std::ifstream info("/proc/meminfo");
    for (std::string key, unit; info >> key;) {
      size_t kilobytes = 0;
      if (key == "MemAvailable:" && info >> kilobytes) return kilobytes << 10;
      std::getline(info, unit);
    }
    return std::numeric_limits<size_t>::max();  // nobody says: reserve will tell
  }
  // Replicas in lockstep gain nothing here, and cost cache.
  int replicas_at_once() const override { return 1; }
  int rows_at_once() const override { return 16; }
  std::unique_ptr<Replay> replay() override { return std::make_unique<Rerun>(); }
  WorkTime time(const std::function<void()>& work) override {
    const auto start = std::chrono::steady_clock::now();
    work();
    return {std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(), {}};
  }
  double run_multiply_adds() override {
    constexpr int64_t flops = 60'000'000;  // half a millisecond: short enough to find a busy machine's quiet moments
    std::vector<float> results(threads());
    std::vector<int64_t> ran(threads());
    parallel_for(threads(), [&](int64_t i) {
      float result = 0;
      ran[i] = (isa_ == Simd::avx512 ? avx512::run_multiply_adds : avx2::run_multiply_adds)(flops, result);
      results[i] = result;
    });
    check(std::accumulate(results.begin(), results.end(), 0.0f) > 0, "the multiply-adds were not run");
    return static_cast<double>(std::accumulate(ran.begin(), ran.end(), int64_t{0}));
  }
  void run_copy(void* to, const void* from, size_t bytes) override {
    const auto parts = static_cast<size_t>(threads());
    parallel_for(threads(), [&](int64_t i) {
      const size_t first = bytes * i / parts, last = bytes * (i + 1) / parts;
      std::memcpy(static_cast<std::byte*>(to) + first, static_cast<const std::byte*>(from) + first, last - first);
    });
  }
  int64_t bucket(int64_t rows) const override { return rows; }
  std::string describe() const override { return fmt::format("CPU, {} thread(s), {}", threads(), to_text(isa_)); }

  Arena reserve(size_t bytes) override {
    bytes = std::max<size_t>(bytes, 4096);
    void* data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (data == MAP_FAILED)
      throw UserError(fmt::format("out of memory: {} bytes asked for", bytes),
                      "a smaller --batch or --model needs less");
    ::madvise(data, bytes, MADV_HUGEPAGE);
    blocks_.emplace_back(data, bytes);
#ifdef MPQ_DEBUG
    std::memset(data, 0xFF, bytes);  // NaN: reading what nobody wrote shows
#endif
    return Arena(static_cast<std::byte*>(data), bytes);
  }
  void release(const Arena& arena) override {
    const auto at =
        std::find_if(blocks_.begin(), blocks_.end(), [&](const auto& block) { return block.first == arena.base(); });
    if (at == blocks_.end()) return;
    ::munmap(at->first, at->second);
    blocks_.erase(at);
  }
  void copy_in(void* device, const void* host, size_t bytes) override { std::memcpy(device, host, bytes); }
  void copy_out(void* host, const void* device, size_t bytes) override { std::memcpy(host, device, bytes); }
  Ops& ops() override { return *ops_; }

 private:
  Simd isa_;
  std::unique_ptr<Ops> ops_;
  std::vector<std::pair<void*, size_t>> blocks_;
};

}  // namespace

float* thread_scratch(int slot, int64_t floats) {
  thread_local AlignedBuffer buffers[8];
  return buffers[slot].at_least(floats);
}

std::unique_ptr<Device> open_cpu(Simd simd) { return std::make_unique<CpuDevice>(simd); }

}  // namespace mpq
