#include "train/phased_session.h"

namespace mpq {
namespace {

std::vector<Replica> in_float(std::vector<Replica> replicas) {
  for (Replica& r : replicas) r.formats.assign(r.formats.size(), LinearSpec{});
  return replicas;
}

struct Learnt {
  std::vector<std::vector<float>> values;  // by parameter
  OptimizerState optimizer;
  WeightMasks masks;
};

}  // namespace

void PhasedSession::begin(int64_t step) {
  session_.reset();  // its memory first
  session_ = open_(step < float_steps_ ? in_float(replicas_) : replicas_);
}

void PhasedSession::train(TrainPlan plan, const std::function<void(Session&, const TrainPlan&)>& train) {
  if (session_->step() < float_steps_) {
    TrainPlan first = plan;
    first.pause = float_steps_;
    train(*session_, first);
    quantize();
  }
  train(*session_, plan);
}

void PhasedSession::quantize() {
  const auto& parameters = session_->model().parameters().all();
  const auto carried = [](const Parameter& p) { return !p.name.ends_with(".quantizer"); };
  std::vector<Learnt> learnt(replicas_.size());
  for (size_t r = 0; r < learnt.size(); ++r) {
    for (const Parameter& p : parameters)
      if (carried(p)) learnt[r].values.push_back(session_->get(static_cast<int>(r), p));
    learnt[r].optimizer = session_->optimizer_state(static_cast<int>(r));
    learnt[r].masks = session_->masks(static_cast<int>(r));
  }
  begin(float_steps_);
  for (size_t r = 0; r < learnt.size(); ++r) {
    auto values = learnt[r].values.begin();
    for (const Parameter& p : parameters)
      if (carried(p)) session_->set(static_cast<int>(r), p, *values++);
    session_->set_masks(static_cast<int>(r), learnt[r].masks);
    session_->restore(static_cast<int>(r), learnt[r].optimizer);
    learnt[r] = {};
  }
}

}  // namespace mpq
