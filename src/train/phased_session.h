// A session whose first steps may run in float, before its replicas are quantized: two sessions, one after the other.
#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "train/trainer.h"

namespace mpq {

class PhasedSession {
 public:
  using Open = std::function<std::unique_ptr<Session>(const std::vector<Replica>& replicas)>;
  // The first `float_steps` steps know no number formats.
  PhasedSession(std::vector<Replica> replicas, int64_t float_steps, Open open)
      : replicas_(std::move(replicas)), float_steps_(float_steps), open_(std::move(open)) {}

  // Opens the session that takes the step after `step`; its weights are the caller's affair.
  void begin(int64_t step);
  Session& operator*() const { return *session_; }
  Session* operator->() const { return session_.get(); }

  // Calls `train` with each phase's session and the plan up to its end. Between the phases weights, moments, masks
  // and step are carried over; what formats train starts with the formats.
  void train(TrainPlan plan, const std::function<void(Session&, const TrainPlan&)>& train);

 private:
  void quantize();

  std::vector<Replica> replicas_;
  int64_t float_steps_;
  Open open_;
  std::unique_ptr<Session> session_;
};

}  // namespace mpq
