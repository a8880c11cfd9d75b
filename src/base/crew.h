// Tasks in threads of their own, and the thread that waits for them: what must stay in one thread (a database, the
// lines of a report) they ask that one to do.
#pragma once
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>

namespace mpq {

class Crew {
 public:
  // Runs task(0) ... task(tasks - 1), each in its own thread (a single one here), and returns when all have ended. Then
  // the first error is rethrown; Stopped only where nothing else went wrong.
  void run(size_t tasks, const std::function<void(size_t)>& task);

  // Within a task: has `work` done in run()'s thread and waits for it; what it throws is thrown here.
  void call(const std::function<void()>& work);
  // Within a task: throws Stopped once another one has failed.
  void stop_if_failed();

 private:
  struct Request {
    const std::function<void()>& work;
    bool done = false;
    std::exception_ptr error;
  };
  void run_one(const std::function<void()>& task);
  void serve();

  bool alone_ = true;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Request*> requests_;
  size_t running_ = 0;
  std::exception_ptr error_, stopped_;
};

}  // namespace mpq
