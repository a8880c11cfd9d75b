// A fixed pool of threads. Tasks are independent and write to disjoint places, so results never depend on the number
// of threads or on which thread ran what.
#pragma once
#include <cstdint>
#include <functional>

namespace mpq {

// Sets the number of threads (>= 1) used by parallel_for; call it before any parallel work. Default: the CPUs allowed.
void set_threads(int threads);
int threads();

// Runs task(0) ... task(tasks - 1), each once; returns when all are done. Nested calls run in the calling thread, and
// so do those of a thread that finds the pool at work for another. The first exception thrown by a task is rethrown
// here.
void parallel_for(int64_t tasks, const std::function<void(int64_t task)>& task);

// While it lives, its thread does by itself what it hands to parallel_for: for work beside somebody else's.
class Alone {
 public:
  Alone();
  ~Alone();
  Alone(const Alone&) = delete;
  Alone& operator=(const Alone&) = delete;

 private:
  bool before_;
};

}  // namespace mpq
