#include "base/stop.h"

#include <atomic>
#include <chrono>
#include <csignal>

namespace mpq {
namespace {
using Clock = std::chrono::steady_clock;
volatile std::sig_atomic_t signalled = 0;
std::atomic<bool> asked{false};
Clock::time_point deadline = Clock::time_point::max();

void on_signal(int number) {
  if (signalled) std::_Exit(128 + number);
  signalled = 1;
}
}  // namespace

void install_stop_signals() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}

void stop_after(double seconds) {
  if (seconds > 0)
    deadline = Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

bool stop_requested() { return signalled || asked || Clock::now() >= deadline; }
bool stopped_by_signal() { return signalled; }
void request_stop() { asked = true; }

}  // namespace mpq
