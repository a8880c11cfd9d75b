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

class Pool {
 public:
  explicit Pool(int threads) {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { work(); });
  }
  ~Pool() {
    {
      std::lock_guard lock(mutex_);
      closing_ = true;
      generation_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    for (auto& w : workers_) w.join();
  }

  void run(int64_t tasks, const std::function<void(int64_t)>& task) {
    task_ = &task;
    tasks_ = tasks;
    next_.store(0, std::memory_order_relaxed);
    active_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
    {
      std::lock_guard lock(mutex_);
      generation_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    drain();
    while (active_.load(std::memory_order_acquire) != 0) __builtin_ia32_pause();
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  }

  int size() const { return static_cast<int>(workers_.size()) + 1; }

 private:
  void drain() {
    inside_task = true;
    for (int64_t i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < tasks_;) try {
        (*task_)(i);
      } catch (...) {
        std::lock_guard lock(mutex_);
        if (!error_) error_ = std::current_exception();
      }
    inside_task = false;
  }

  // The next job usually follows within microseconds: look for it a while before sleeping.
  void await(uint64_t seen) {
    for (int spin = 0; spin < 4000; ++spin) {
      if (generation_.load(std::memory_order_acquire) != seen) return;
      __builtin_ia32_pause();
    }
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [&] { return generation_.load(std::memory_order_acquire) != seen; });
  }

  void work() {
    for (uint64_t seen = 0;;) {
      await(seen);
      seen = generation_.load(std::memory_order_acquire);
      if (closing_) return;
      drain();
      active_.fetch_sub(1, std::memory_order_acq_rel);
    }
  }

  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<uint64_t> generation_{0};
  std::atomic<int64_t> next_{0};
  std::atomic<int> active_{0};
  std::atomic<bool> closing_{false};
  int64_t tasks_ = 0;
  const std::function<void(int64_t)>* task_ = nullptr;
  std::exception_ptr error_;
};

std::unique_ptr<Pool> pool;

Pool& the_pool() {
  if (!pool) pool = std::make_unique<Pool>(allowed_cpus());
  return *pool;
}

}  // namespace

void set_threads(int threads) {
  check(threads >= 1 && !inside_task, "set_threads({})", threads);
  if (!pool || pool->size() != threads) pool = std::make_unique<Pool>(threads);
}

int threads() { return the_pool().size(); }

void parallel_for(int64_t tasks, const std::function<void(int64_t)>& task) {
  if (inside_task || tasks <= 1 || the_pool().size() == 1) {
    for (int64_t i = 0; i < tasks; ++i) task(i);
    return;
  }
  the_pool().run(tasks, task);
}

}  // namespace mpq
