#include "cuda/replay.h"

#include <algorithm>
#include <unordered_map>

#include "cuda/common.cuh"

namespace mpq {
namespace {

cudaGraphExec_t capture(CudaOps& ops, cudaStream_t stream, const std::function<void()>& work, int64_t& nodes) {
  ops.join();
  if (ops.waits_for_others) check_cuda(cudaStreamSynchronize(stream), "waiting before a capture");
  check_cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "capture");
  cudaGraph_t graph = nullptr;
  try {
    work();
    ops.join();
  } catch (...) {
    cudaStreamEndCapture(stream, &graph);
    if (graph) cudaGraphDestroy(graph);
    throw;
  }
  check_cuda(cudaStreamEndCapture(stream, &graph), "capture");
  size_t count = 0;
  cudaGraphGetNodes(graph, nullptr, &count);
  nodes = static_cast<int64_t>(count);
  cudaGraphExec_t runnable = nullptr;
  const cudaError_t status = cudaGraphInstantiate(&runnable, graph, 0);
  cudaGraphDestroy(graph);
  check_cuda(status, "graph");
  return runnable;
}

class Graphs final : public Replay {
 public:
  Graphs(CudaOps& ops, cudaStream_t stream, int device) : ops_(ops), stream_(stream), device_(device) {}
  ~Graphs() override {
    cudaSetDevice(device_);
    cudaStreamSynchronize(stream_);
    for (const auto& [key, graph] : graphs_) cudaGraphExecDestroy(graph);
  }

  void run(uint64_t key, const std::function<void()>& work) override {
    make_current(device_);
    const auto [at, is_new] = graphs_.try_emplace(key, nullptr);
    int64_t nodes = 0;
    if (is_new) try {
        at->second = capture(ops_, stream_, work, nodes);
        most_nodes_ = std::max(most_nodes_, nodes);
      } catch (...) {
        graphs_.erase(at);
        throw;
      }
    check_cuda(cudaGraphLaunch(at->second, stream_), "graph launch");
  }

  int64_t nodes() const override { return most_nodes_; }

 private:
  CudaOps& ops_;
  cudaStream_t stream_;
  int device_;
  std::unordered_map<uint64_t, cudaGraphExec_t> graphs_;
  int64_t most_nodes_ = 0;
};

}  // namespace

WorkTime time_in_graph(CudaOps& ops, cudaStream_t stream, const std::function<void()>& work) {
  constexpr int repetitions = 6;
  int64_t nodes = 0;
  const cudaGraphExec_t graph = capture(
      ops, stream,
      [&] {
        for (int i = 0; i < repetitions; ++i) work(), ops.join();
      },
      nodes);
  cudaEvent_t start, stop;
  check_cuda(cudaEventCreate(&start), "event");
  check_cuda(cudaEventCreate(&stop), "event");
  check_cuda(cudaGraphLaunch(graph, stream), "graph launch");
  check_cuda(cudaEventRecord(start, stream), "event");
  check_cuda(cudaGraphLaunch(graph, stream), "graph launch");
  check_cuda(cudaEventRecord(stop, stream), "event");
  check_cuda(cudaEventSynchronize(stop), "event");
  float ms = 0;
  check_cuda(cudaEventElapsedTime(&ms, start, stop), "event");
  cudaEventDestroy(start), cudaEventDestroy(stop);
  cudaGraphExecDestroy(graph);
  return {ms * 1e-3 / repetitions, static_cast<double>(nodes) / repetitions};
}

std::unique_ptr<Replay> open_graphs(CudaOps& ops, cudaStream_t stream, int device) {
  return std::make_unique<Graphs>(ops, stream, device);
}

}  // namespace mpq
