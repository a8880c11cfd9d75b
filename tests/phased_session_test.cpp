// Training that begins in float and goes on in its formats: what each phase is, and that company and interruption
// change no bit, with masks of pruning and with adapters too.
#include "train/phased_session.h"

#include <gtest/gtest.h>

#include "tests/small_session.h"
#include "train/adapter_folder.h"

namespace mpq {
namespace {

constexpr int64_t kFloat = 5;
const std::vector<std::string> formats = {"integer(width=6,frac=3)", "binary_residual(levels=2)",
                                          "block_log(width=4,bias_width=4,block=1x16)", "none"};

class PhasedSessionTest : public DeviceTest {
 protected:
  // A model and some of its replicas.
  struct Case {
    const char* name;
    const Bert& model;
    std::vector<Replica> replicas = {};

    Case only(size_t r) const { return {name, model, {replicas[r]}}; }
  };
  PhasedSessionTest() {
    const auto weights = [](const char* spec) { return parse_prune_spec(spec, Role::weight); };
    const auto activations = [](const char* spec) { return parse_prune_spec(spec, Role::activation); };
    const Pruning pruning[] = {
        {.weights = weights("l1(sparsity=0.5)")},
        {.activations = activations("random(sparsity=0.2)")},
        {.weights = weights("random(sparsity=0.3)"), .activations = activations("l1(sparsity=0.4)")},
        {}};
    for (size_t i = 0; i < formats.size(); ++i) {
      const Wish wish{.format = formats[i], .seed = 42 + i, .rate = 3e-3};
      for (Case& c : cases_) c.replicas.push_back(replica(c.model, wish));
      cases_[1].replicas.back().pruning = pruning[i];
      cases_[2].replicas.back().lora = {.rank = static_cast<int>(i) + 1, .alpha = 8};
    }
  }

  PhasedSession phased(const Case& c) {
    return {c.replicas, kFloat, [&](const std::vector<Replica>& now) {
              return std::make_unique<Session>(*device_, c.model, now, small_options);
            }};
  }
  void start(PhasedSession& session) {
    session.begin(0);
    for (int r = 0; r < session->replicas(); ++r) {
      session->initialise(r);
      session->prune(r);
    }
  }
  void train(PhasedSession& session, const AfterSteps& after = {}, int64_t stop_every = 0) {
    TrainPlan plan = plan_;
    plan.stop_every = stop_every;
    session.train(plan, [&](Session& now, const TrainPlan& phase) { mpq::train(now, split_, phase, after); });
  }
  // Everything that each replica has learnt.
  std::vector<std::vector<Floats>> trained(const Case& c) {
    PhasedSession session = phased(c);
    start(session);
    train(session);
    return learnt(session);
  }
  static std::vector<std::vector<Floats>> learnt(PhasedSession& session) {
    std::vector<std::vector<Floats>> all;
    for (int r = 0; r < session->replicas(); ++r) all.push_back(everything(*session, r));
    return all;
  }
  // Of what a killed process leaves: before the formats began there is nothing that they have trained.
  static void restore(PhasedSession& session, PhasedSession& killed) {
    session.begin(killed->step());
    for (int r = 0; r < session->replicas(); ++r) {
      for (const Parameter& p : session->model().parameters().all())
        if (killed->step() > kFloat || !p.name.ends_with(".quantizer")) session->set(r, p, killed->get(r, p));
      session->set_masks(r, killed->masks(r));
      session->restore(r, killed->optimizer_state(r));
    }
  }

  const Split split_ = random_rows({5, 1, 20, 3, 9, 12, 2, 7, 16, 4, 8, 11}, 3);
  const TrainPlan plan_{.epochs = 4, .batch = 4};
  const Bert plain_{small}, adapted_{small, {adapter_targets(Bert(small), {"query", "value", "pooler"}), 4, 0.1f}};
  Case cases_[3] = {{"plain", plain_}, {"pruned", plain_}, {"with adapters", adapted_}};
};
MPQ_ON_EVERY_DEVICE(PhasedSessionTest);

TEST_P(PhasedSessionTest, ItIsFloatTrainingAndThenTraining) {
  for (const Case& c : cases_) {
    SCOPED_TRACE(c.name);
    const auto losses_of = [&](const Case& which) {
      std::vector<std::vector<float>> losses;
      PhasedSession session = phased(which);
      start(session);
      train(session, [&](const Progressed& done) {
        for (const auto& step : done.results) losses.push_back(step.loss);
        EXPECT_EQ(to_text(session->replica(0).formats[0]),
                  to_text(done.first < kFloat ? LinearSpec{} : which.replicas[0].formats[0]));
      });
      return losses;
    };
    Case in_float = c;
    for (Replica& r : in_float.replicas) r.formats.assign(r.formats.size(), LinearSpec{});
    const auto losses = losses_of(c), float_losses = losses_of(in_float);
    ASSERT_EQ(losses.size(), 12u);
    for (size_t step = 0; step < losses.size(); ++step)
      for (size_t r = 0; r < formats.size(); ++r)
        EXPECT_EQ(losses[step][r] == float_losses[step][r], static_cast<int64_t>(step) < kFloat || formats[r] == "none")
            << "step " << step << ", " << formats[r];
  }
}

TEST_P(PhasedSessionTest, AReplicaAmongOthersHasItsBits) {
  for (const Case& c : cases_) {
    const auto together = trained(c);
    for (size_t r = 0; r < formats.size(); ++r) {
      SCOPED_TRACE(std::string(c.name) + ", " + formats[r]);
      expect_same_bits(together[r], trained(c.only(r))[0]);
    }
  }
}

TEST_P(PhasedSessionTest, InterruptedAtAnyStepItGoesOnWithTheSameBits) {
  for (const Case& c : cases_) {
    const auto whole = trained(c);
    for (const int64_t stop : {int64_t{2}, kFloat, int64_t{8}}) {
      SCOPED_TRACE(std::string(c.name) + ", step " + std::to_string(stop));
      struct Killed {};
      PhasedSession first = phased(c), second = phased(c);
      start(first);
      const auto kill = [&](const Progressed&) {
        if (first->step() == stop) throw Killed{};
      };
      EXPECT_THROW(train(first, kill, stop), Killed);
      restore(second, first);
      train(second);
      const auto again = learnt(second);
      for (size_t r = 0; r < formats.size(); ++r) expect_same_bits(again[r], whole[r]);
    }
  }
}

}  // namespace
}  // namespace mpq
