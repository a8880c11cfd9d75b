#include "cuda/replay.h"

#include <unordered_map>

#include "cuda/common.cuh"

namespace mpq {
namespace {

class Graphs final : public Replay {
 public:
  Graphs(CudaOps& ops, cudaStream_t stream) : ops_(ops), stream_(stream) {}
  ~Graphs() override {
    cudaStreamSynchronize(stream_);
    for (const auto& [key, graph] : graphs_) cudaGraphExecDestroy(graph);
  }

  void run(uint64_t key, const std::function<void()>& work) override {
    const auto [at, is_new] = graphs_.try_emplace(key, nullptr);
    if (is_new) try {
        at->second = capture(work);
      } catch (...) {
        graphs_.erase(at);
        throw;
      }
    check_cuda(cudaGraphLaunch(at->second, stream_), "graph launch");
  }

 private:
  cudaGraphExec_t capture(const std::function<void()>& work) {
    ops_.join();
    check_cuda(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "capture");
    cudaGraph_t graph = nullptr;
    try {
      work();
      ops_.join();
    } catch (...) {
      cudaStreamEndCapture(stream_, &graph);
      if (graph) cudaGraphDestroy(graph);
      throw;
    }
    check_cuda(cudaStreamEndCapture(stream_, &graph), "capture");
    cudaGraphExec_t runnable = nullptr;
    const cudaError_t status = cudaGraphInstantiate(&runnable, graph, 0);
    cudaGraphDestroy(graph);
    check_cuda(status, "graph");
    return runnable;
  }

  CudaOps& ops_;
  cudaStream_t stream_;
  std::unordered_map<uint64_t, cudaGraphExec_t> graphs_;
};

}  // namespace

std::unique_ptr<Replay> open_graphs(CudaOps& ops, cudaStream_t stream) {
  return std::make_unique<Graphs>(ops, stream);
}

}  // namespace mpq
