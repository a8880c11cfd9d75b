// Linked into a copy of mpq: on SIGUSR1 a kernel of another thread faults. All threads share the GPU's context, so the
// program then meets what a GPU that is lost in mid-run shows it: every call fails.
#include <cuda_runtime.h>
#include <semaphore.h>
#include <signal.h>

#include <thread>

namespace {

__global__ void fault() { __trap(); }

sem_t asked;

// A handler, not a mask: libraries start threads before anything here could block the signal for them.
const bool waiting = [] {
  sem_init(&asked, 0, 0);
  struct sigaction action {};
  action.sa_handler = [](int) { sem_post(&asked); };
  action.sa_flags = SA_RESTART;
  sigaction(SIGUSR1, &action, nullptr);
  std::thread([] {
    while (sem_wait(&asked) != 0) {
    }
    fault<<<1, 1>>>();
    cudaDeviceSynchronize();
  }).detach();
  return true;
}();

}  // namespace
