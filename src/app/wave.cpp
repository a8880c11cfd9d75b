#include "app/wave.h"

#include <algorithm>
#include <atomic>
#include <numeric>
#include <tuple>

#include "app/kept_trial.h"
#include "app/trial_session.h"
#include "base/crew.h"
#include "base/text.h"
#include "nn/model_formats.h"

namespace mpq {
namespace fs = std::filesystem;
namespace {

constexpr size_t kSharing = 16;         // replicas that suit any device where layers below them are computed once
constexpr double kShareOfMemory = 0.9;  // the rest is for what no session counts: graphs, libraries, other processes

// 0: over a row, as a rule; 1: over a sequence; 2: over the batch. Each has sessions of its own: the last layer runs
// differently. What only fills tiles of zeros asks for the whole layer in steps that have one.
int looks_over(const TrialJob& job, const Pruning& pruning) {
  if (pruning.activations.over_batch()) return 2;
  return std::any_of(job.formats.begin(), job.formats.end(), [&](const LinearSpec& spec) {
    return tile_reach(spec.x) == Reach::sequence || reach(spec.y, Role::activation) == Reach::sequence;
  });
}

// Layers below the first format: what is shared with others of the same base. -1: it has a model of its own.
int float_layers(const TrialJob& job, bool evaluates_base) {
  if (!evaluates_base) return -1;
  for (const EmbeddingTable& table : job.model->tables())
    if (spec_of(job.formats, table) != LinearSpec{}) return 0;
  const auto formatted = [&](const BertLayer& l) {
    const auto linears = {&l.query, &l.key, &l.value, &l.attention_output, &l.intermediate, &l.output};
    return std::any_of(linears.begin(), linears.end(), [&](const Linear* linear) {
      return !linear->is_identity() && job.formats[linear->index] != LinearSpec{};
    });
  };
  const std::vector<BertLayer>& layers = job.model->layers;
  return static_cast<int>(std::find_if(layers.begin(), layers.end(), formatted) - layers.begin());
}

struct Placed {
  TrialJob job;
  int64_t step;
  int looks_over, float_layers;
  size_t architecture;  // the number of the first job that has it

  // Equal: they may share a session. Ascending: the order of the sessions.
  auto key() const {
    return std::tuple(-step, looks_over, float_layers, architecture, job.epochs.value_or(-1), job.start.empty());
  }
};

size_t architecture_of(const std::vector<TrialJob>& jobs, const BertConfig& config) {
  const auto same = [&](const TrialJob& job) { return job.model->config() == config; };
  return static_cast<size_t>(std::find_if(jobs.begin(), jobs.end(), same) - jobs.begin());
}

}  // namespace

WaveRunner::WaveRunner(std::vector<Device*> devices, const Setup& setup, const TrainArgs& train, int replicas,
                       int lanes)
    : devices_(std::move(devices)),
      setting_{setup, train},
      most_(static_cast<size_t>(std::max(1, replicas > 0 ? replicas : devices_.at(0)->replicas_at_once()))),
      most_sharing_(replicas > 0 ? most_ : std::max(most_, kSharing)),
      lanes_(lanes) {}

std::vector<SessionJobs> WaveRunner::sessions(std::vector<TrialJob> jobs) const {
  const size_t machines = devices_.size() / static_cast<size_t>(lanes_);
  const size_t share = (jobs.size() + machines - 1) / machines;
  std::vector<Placed> placed;
  for (const TrialJob& job : jobs) {
    const auto kept = read_kept(setting_, job);
    placed.push_back({job, kept ? kept->state.optimizer.step : 0, looks_over(job, setting_.pruning_of(job)),
                      float_layers(job, setting_.evaluates_base(job)), architecture_of(jobs, job.model->config())});
  }
  std::stable_sort(placed.begin(), placed.end(), [](const Placed& a, const Placed& b) { return a.key() < b.key(); });
  std::vector<SessionJobs> sessions;
  for (auto at = placed.begin(); at != placed.end();) {
    SessionJobs session{.step = at->step};
    const auto end = std::find_if(at, placed.end(), [&](const Placed& p) { return p.key() != at->key(); });
    const size_t most = std::min(share, at->float_layers > 0 ? most_sharing_ : most_);
    for (auto p = at; p != end && session.jobs.size() < most; ++p) session.jobs.push_back(p->job);
    const size_t count = fitting(*at->job.model, setting_.replicas(session.jobs), setting_.session_options(at->job));
    session.jobs.erase(session.jobs.begin() + static_cast<std::ptrdiff_t>(count), session.jobs.end());
    at += static_cast<std::ptrdiff_t>(session.jobs.size());
    sessions.push_back(std::move(session));
  }
  return sessions;
}

std::vector<size_t> largest_first(const std::vector<SessionJobs>& sessions) {
  std::vector<int64_t> work;  // replicas times the weights of their Linears
  for (const SessionJobs& session : sessions) {
    int64_t weights = 0;
    for (const Linear* linear : session.jobs[0].model->linears()) weights += linear->weight->shape.size();
    work.push_back(weights * static_cast<int64_t>(session.jobs.size()));
  }
  std::vector<size_t> order(sessions.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return work[a] > work[b]; });
  return order;
}

void WaveRunner::run(const std::vector<SessionJobs>& sessions, const TrialSplits& splits,
                     const std::function<void()>& alive) const {
  const std::vector<size_t> order = largest_first(sessions);
  std::atomic<size_t> next = 0;
  Crew crew;
  const auto go_on = [&] {
    crew.stop_if_failed();
    crew.call(alive);
  };
  crew.run(std::min(devices_.size(), sessions.size()), [&](size_t device) {
    for (size_t place; (place = next++) < order.size();) {
      crew.stop_if_failed();
      const SessionJobs& session = sessions[order[place]];
      std::vector<TrialJob> jobs = session.jobs;
      for (TrialJob& job : jobs)
        job.finished = [&crew, finished = job.finished](Session& session, int r, const TrialResult& result) {
          crew.call([&] { finished(session, r, result); });
        };
      TrialSession(*devices_[device], setting_, jobs, session.step).run(splits, go_on, device == 0);
    }
  });
}

void WaveRunner::write(const fs::path& folder, Session& session, int replica) const {
  write_checkpoint(folder, session, replica, *setting_.setup.data.tokenizer, setting_.setup.checkpoint_info());
}

std::vector<Evaluation> WaveRunner::evaluate_kept(const std::vector<fs::path>& folders, const Split& split) const {
  const SessionOptions options{.max_tokens = setting_.setup.data_options.max_tokens, .training = false};
  std::vector<Checkpoint> checkpoints;
  for (const fs::path& folder : folders) checkpoints.push_back(read_checkpoint(folder));
  std::vector<Evaluation> all;
  while (all.size() < folders.size()) {
    const Bert model(checkpoints[all.size()].config);
    std::vector<Replica> replicas;  // the next ones of one architecture
    for (size_t i = all.size();
         i < folders.size() && replicas.size() < most_ && checkpoints[i].config == model.config(); ++i)
      replicas.push_back({.formats = checkpoints[i].formats, .pruning = checkpoints[i].pruning});
    replicas.resize(fitting(model, replicas, options));
    Session session(*devices_[0], model, replicas, options);
    for (int r = 0; r < session.replicas(); ++r) load_into(session, r, checkpoints[all.size() + r]);
    const auto evaluations = evaluate_with_progress(session, split, "testing the winners");
    all.insert(all.end(), evaluations.begin(), evaluations.end());
  }
  return all;
}

size_t WaveRunner::memory(std::span<const TrialJob> jobs) const {
  return Session::memory(*devices_[0], *jobs[0].model, setting_.replicas(jobs), setting_.session_options(jobs[0]));
}

const Device& WaveRunner::tightest() const {
  return **std::min_element(devices_.begin(), devices_.end(),
                            [](const Device* a, const Device* b) { return a->free_bytes() < b->free_bytes(); });
}

// How many of these replicas, from the first on, one session can hold, on any device.
size_t WaveRunner::fitting(const Bert& model, std::span<const Replica> replicas, const SessionOptions& options) const {
  const Device& device = tightest();
  const size_t free = device.free_bytes();
  const auto budget = static_cast<size_t>(kShareOfMemory / lanes_ * static_cast<double>(free));
  for (size_t n = replicas.size();;) {
    const size_t needed = Session::memory(device, model, {replicas.begin(), replicas.begin() + n}, options);
    if (needed <= budget) return n;
    if (n == 1)
      throw UserError(fmt::format("a trial takes {} of memory; {} has {} free, and nine tenths of that are used",
                                  human_bytes(needed), device.describe(), human_bytes(free)),
                      "a smaller --batch, --max-tokens or --model needs less");
    n = std::clamp<size_t>(n * budget / needed, 1, n - 1);
  }
}

}  // namespace mpq
