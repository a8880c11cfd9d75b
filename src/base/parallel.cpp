#include "base/parallel.h"

#include <sched.h>

#include <atomic>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"

namespace mpq {
namespace {

thread_local bool inside_task = false;

int allowed_cpus() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1u, std::thread::hardware_concurrency());
}

// A job is a generation of tickets: the upper half of `ticket_` is the generation, the lower half the next task. A task
// is claimed by compare-and-swap, so a worker that wakes late, when the job is done or another one runs, claims nothing
// of the old one; and the caller waits for tasks to end, never for workers to wake.
class Pool {
 public:
  explicit Pool(int threads) {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { work(); });
  }
  ~Pool() {
    closing_ = true;
    publish(0);
    for (auto& w : workers_) w.join();
  }

  // False: it is at work for another thread.
  bool run(int64_t tasks, const std::function<void(int64_t)>& task) {
    const std::unique_lock at_work(caller_, std::try_to_lock);
    if (!at_work) return false;
    check(tasks < int64_t{1} << 32, "{} tasks", tasks);
    task_ = &task;
    done_.store(0, std::memory_order_relaxed);
    publish(tasks);
    drain(ticket_.load(std::memory_order_relaxed) >> 32);
    for (int spin = 0; done_.load(std::memory_order_acquire) != tasks; ++spin)
      if (spin < kSpins)
        __builtin_ia32_pause();
      else
        std::this_thread::yield();
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
    return true;
  }

  int size() const { return static_cast<int>(workers_.size()) + 1; }

 private:
  static constexpr uint64_t kClosed = 0xFFFFFFFF;  // no job has so many tasks
  static constexpr int kSpins = 4000;              // some tens of microseconds: the next job usually follows sooner

  void publish(int64_t tasks) {
    {
      std::lock_guard lock(mutex_);
      const uint64_t generation = ticket_.load(std::memory_order_relaxed) >> 32;
      // First closed: a late worker that held its old ticket against the new number would claim a task by it.
      ticket_.store(generation << 32 | kClosed, std::memory_order_relaxed);
      tasks_.store(tasks, std::memory_order_release);
      ticket_.store((generation + 1) << 32, std::memory_order_release);
    }
    wake_.notify_all();
  }

  void drain(uint64_t generation) {
    inside_task = true;
    uint64_t ticket = ticket_.load(std::memory_order_acquire);
    for (;;) {
      const auto i = static_cast<int64_t>(ticket & 0xFFFFFFFF);
      if (ticket >> 32 != generation || i >= tasks_.load(std::memory_order_acquire)) break;
      if (!ticket_.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acq_rel, std::memory_order_acquire))
        continue;
      run_task(i);
      ticket = ticket_.load(std::memory_order_acquire);
    }
    inside_task = false;
  }

  void run_task(int64_t i) {
    try {
      (*task_)(i);
    } catch (...) {
      std::lock_guard lock(mutex_);
      if (!error_) error_ = std::current_exception();
    }
    done_.fetch_add(1, std::memory_order_release);
  }

  uint64_t await(uint64_t seen) {
    const auto generation = [&] { return ticket_.load(std::memory_order_acquire) >> 32; };
    for (int spin = 0; spin < kSpins; ++spin) {
      if (generation() != seen) return generation();
      __builtin_ia32_pause();
    }
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [&] { return generation() != seen; });
    return generation();
  }

  void work() {
    for (uint64_t seen = 0; !closing_;) {
      seen = await(seen);
      drain(seen);
    }
  }

  std::vector<std::thread> workers_;
  std::mutex caller_, mutex_;
  std::condition_variable wake_;
  std::atomic<uint64_t> ticket_{0};
  std::atomic<int64_t> tasks_{0}, done_{0};
  std::atomic<bool> closing_{false};
  const std::function<void(int64_t)>* task_ = nullptr;
  std::exception_ptr error_;
};

std::unique_ptr<Pool> pool;
std::once_flag opened;

Pool& the_pool() {
  std::call_once(opened, [] {
    if (!pool) pool = std::make_unique<Pool>(allowed_cpus());
  });
  return *pool;
}

}  // namespace

void set_threads(int threads) {
  check(threads >= 1 && !inside_task, "set_threads({})", threads);
  if (!pool || pool->size() != threads) pool = std::make_unique<Pool>(threads);
}

int threads() { return the_pool().size(); }

Alone::Alone() : before_(std::exchange(inside_task, true)) {}
Alone::~Alone() { inside_task = before_; }

void parallel_for(int64_t tasks, const std::function<void(int64_t)>& task) {
  if (!inside_task && tasks > 1 && the_pool().size() > 1 && the_pool().run(tasks, task)) return;
  for (int64_t i = 0; i < tasks; ++i) task(i);
}

}  // namespace mpq
