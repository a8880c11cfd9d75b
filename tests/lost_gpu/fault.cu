// Linked into a copy of mpq: on SIGUSR1 a kernel of another thread faults. All threads share the GPU's context, so the
// program then meets what a GPU that is lost in mid-run shows it: every call fails.
#include <cuda_runtime.h>
#include <signal.h>

#include <thread>

namespace {

__global__ void fault() { __trap(); }

// Before main, so that every thread of the program inherits the mask and only the one here takes the signal.
const bool waiting = [] {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::thread([signals] {
    int signal = 0;
    sigwait(&signals, &signal);
    fault<<<1, 1>>>();
    cudaDeviceSynchronize();
  }).detach();
  return true;
}();

}  // namespace
