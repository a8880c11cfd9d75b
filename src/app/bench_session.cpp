#include "app/bench_session.h"

#include <fmt/format.h>

#include "base/philox.h"

namespace mpq {
namespace {
constexpr int64_t kTableSteps = 1 << 16;  // more steps than any measurement takes
}

Split random_reviews(const BenchContext& context, int64_t rows) {
  std::vector<int> sorted = context.lengths;
  std::sort(sorted.begin(), sorted.end());
  Split split;
  for (const int64_t quantile : epoch_order(rows, 1, 0)) {
    const int length =
        sorted[static_cast<size_t>((2 * quantile + 1) * static_cast<int64_t>(sorted.size()) / (2 * rows))];
    for (int i = 0; i < length; ++i) {
      const Philox random = philox(static_cast<uint32_t>(split.tokens.size()), 0, 0, 0, 2, 0);
      split.tokens.push_back(static_cast<int32_t>(random.word[0] % static_cast<uint32_t>(context.model.vocabulary)));
    }
    split.row_starts.push_back(static_cast<int64_t>(split.tokens.size()));
    split.labels.push_back(static_cast<int32_t>(split.labels.size() % static_cast<size_t>(context.model.classes)));
  }
  return split;
}

double forward_flops(const BertConfig& c, const Split& split, bool cls_only) {
  const double h = c.hidden, f = c.ffn;
  double flops = 0;
  for (int64_t r = 0; r < split.row_count(); ++r) {
    const auto n = static_cast<double>(split.row(r).size());
    const double whole_layer = n * (8 * h * h + 4 * h * f) + 4 * h * n * n;
    const double last_layer = 4 * h * h * n + 4 * h * n + 4 * h * h + 4 * h * f;
    flops += (c.layers - 1) * whole_layer + (cls_only ? last_layer : whole_layer);
  }
  return flops;
}

std::unique_ptr<Session> make_session(Device& device, const Bert& model, const BenchContext& context,
                                      const LinearSpec& spec, bool training, int replicas) {
  const Replica replica{.schedule = {.steps = training ? kTableSteps : 0},
                        .formats = std::vector<LinearSpec>(model.linears().size(), spec)};
  auto session = std::make_unique<Session>(
      device, model, std::vector(replicas, replica),
      SessionOptions{.batch_rows = context.batch, .max_tokens = model.config().positions, .training = training});
  for (int r = 0; r < replicas; ++r) session->initialise(r);
  return session;
}

void attach(Session& session, const Split& split, int64_t batch_rows) {
  StepOrder order;
  for (int64_t row = 0; order.steps() < kTableSteps;
       row = row + batch_rows < split.row_count() ? row + batch_rows : 0) {
    for (int64_t r = row; r < std::min(split.row_count(), row + batch_rows); ++r)
      order.order.push_back(static_cast<int32_t>(r));
    order.first.push_back(static_cast<int64_t>(order.order.size()));
  }
  session.attach(split, std::move(order));
}

void train_pass(Session& session, const Split& split, int64_t batch_rows) {
  session.train_steps((split.row_count() + batch_rows - 1) / batch_rows);
}

std::string describe(const BenchContext& context, int batch) {
  const BertConfig& c = context.model;
  return fmt::format("{} layers, hidden {}, batch {}, {}, random tokens", c.layers, c.hidden, batch,
                     context.lengths_from);
}

}  // namespace mpq
