// What the benchmarks that run whole sessions share: reviews of real lengths, sessions on them, and how much work they
// are.
#pragma once
#include "app/bench.h"
#include "train/trainer.h"

namespace mpq {

constexpr int64_t kEpochRows = 25000;  // IMDb's training split, and its test split

// Random tokens and labels; the lengths are evenly spaced quantiles of the given ones, in random order, so that few
// rows have the distribution of all.
Split random_reviews(const BenchContext& context, int64_t rows);

// Floating-point operations of the products of one forward pass, exact for each row's length. Only [CLS] is computed in
// the last layer beyond K and V; pooler and classifier are left out. Training takes three times that (gradients of both
// factors): 13.2 TFLOP an epoch of IMDb for bert-tiny.
double forward_flops(const BertConfig& config, const Split& split, bool cls_only = true);

std::unique_ptr<Session> make_session(Device& device, const Bert& model, const BenchContext& context,
                                      const LinearSpec& spec, bool training, int replicas = 1);

// The split again and again, in the data's own order, for as many steps as the tables hold.
void attach(Session& session, const Split& split, int64_t batch_rows);
// The next steps: as many as the split has batches.
void train_pass(Session& session, const Split& split, int64_t batch_rows);

// "2 layers, hidden 128, batch 8, lengths of ..., random tokens"
std::string describe(const BenchContext& context, int batch);

}  // namespace mpq
