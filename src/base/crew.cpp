#include "base/crew.h"

#include <thread>
#include <vector>

#include "base/error.h"

namespace mpq {

void Crew::run(size_t tasks, const std::function<void(size_t)>& task) {
  alone_ = tasks <= 1;
  if (alone_) {
    if (tasks == 1) task(0);
    return;
  }
  running_ = tasks;
  std::vector<std::thread> threads;
  for (size_t i = 0; i < tasks; ++i) threads.emplace_back([&, i] { run_one([&] { task(i); }); });
  serve();
  for (std::thread& thread : threads) thread.join();
  if (const auto error = error_ ? error_ : stopped_) std::rethrow_exception(error);
}

void Crew::run_one(const std::function<void()>& task) {
  std::exception_ptr error, stopped;
  try {
    task();
  } catch (const Stopped&) {
    stopped = std::current_exception();
  } catch (...) {
    error = std::current_exception();
  }
  const std::lock_guard lock(mutex_);
  if (!error_) error_ = error;
  if (!stopped_) stopped_ = stopped;
  --running_;
  changed_.notify_all();
}

// What the tasks ask for, until all have ended.
void Crew::serve() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return !requests_.empty() || running_ == 0; });
    if (requests_.empty()) return;
    Request& request = *requests_.front();
    requests_.pop_front();
    lock.unlock();
    try {
      request.work();
    } catch (...) {
      request.error = std::current_exception();
    }
    lock.lock();
    request.done = true;
    changed_.notify_all();
  }
}

void Crew::call(const std::function<void()>& work) {
  if (alone_) return work();
  Request request{work, false, {}};
  std::unique_lock lock(mutex_);
  requests_.push_back(&request);
  changed_.notify_all();
  changed_.wait(lock, [&] { return request.done; });
  if (request.error) std::rethrow_exception(request.error);
}

void Crew::stop_if_failed() {
  const std::lock_guard lock(mutex_);
  if (error_) throw Stopped("another device failed");
}

}  // namespace mpq
