// Replicas of one model: what lies below the first Linear whose formats differ is computed once, and nobody's bits
// change.
#include <gtest/gtest.h>

#include "tensor/dry_ops.h"
#include "tests/small_session.h"

namespace mpq {
namespace {

class OneModelTest : public DeviceTest {
 protected:
  // Formats from row `first` on, float below.
  static Replica above(const Bert& model, const std::string& format, int first) {
    Replica r = replica(model, {.format = format});
    for (int i = 0; i < first; ++i) r.formats[i] = {};
    return r;
  }
  static SessionOptions options(bool one_model) {
    SessionOptions options = small_options;
    options.training = false, options.one_model = one_model;
    return options;
  }
  void expect_the_bits_of_each_alone(const Bert& model, const std::vector<Replica>& replicas) {
    Session together(*device_, model, replicas, options(true));
    together.initialise();
    const auto logits = together.logits(batch_at(3));
    ASSERT_EQ(logits.size(), replicas.size());
    for (size_t r = 0; r < replicas.size(); ++r) {
      Session alone(*device_, model, {replicas[r]}, options(false));
      alone.initialise();
      expect_same_bits({logits[r]}, alone.logits(batch_at(3)));
    }
  }
  const Bert model_{small};
};
MPQ_ON_EVERY_DEVICE(OneModelTest);

TEST_P(OneModelTest, WhereverTheyPartEachHasTheBitsItHasAlone) {
  for (int first = 0; first <= static_cast<int>(model_.linears().size()); ++first) {
    SCOPED_TRACE(first);
    expect_the_bits_of_each_alone(
        model_, {above(model_, "integer(width=6,frac=3)", first), replica(model_, {}),
                 above(model_, "scaled_integer(width=4,per=16)", first), above(model_, "log(width=6,bias=7)", first)});
  }
}

// A review's first row needs all of its rows there (the pass that ends with the last format), or the whole layer runs
// on all rows; as in a session, a CPU's sums alone do not notice the latter.
TEST_P(OneModelTest, SoDoFormatsThatLookOverASequence) {
  const std::string sequence = "block_log(width=4,bias_width=4,block=16)";
  std::vector<std::string> outputs{"none", "integer(width=8,frac=4)"};
  if (GetParam().starts_with("cpu")) outputs.push_back("block_fp(width=8,exponent=8,bias=127,block=*x16)");
  for (const std::string& output : outputs)
    for (int first = 0; first <= static_cast<int>(model_.linears().size()); ++first) {
      SCOPED_TRACE(output + std::to_string(first));
      Replica with_output = replica(model_, {.format = sequence});
      for (size_t i = static_cast<size_t>(first); i < model_.linears().size(); ++i)
        with_output.formats[i].y = parse_format(output);
      expect_the_bits_of_each_alone(model_, {replica(model_, {.format = sequence}), with_output,
                                             above(model_, sequence, first), above(model_, "binary()", first)});
    }
}

TEST_P(OneModelTest, SoDoOnesThatShareTheirFormats) {
  const std::string shared = "mxint(width=6,block=16)";
  for (const int row : {0, 2, 5, 6, 11, 13}) {
    SCOPED_TRACE(row);
    std::vector<Replica> replicas(3, replica(model_, {.format = shared}));
    replicas[0].formats[row].w = parse_format("integer(width=4,frac=3)");
    replicas[2].formats[row].b = parse_format("integer(width=5,frac=3)");
    expect_the_bits_of_each_alone(model_, replicas);
  }
}

TEST_P(OneModelTest, SoDoModelsWithIdentitiesAndFormatsOfTables) {
  BertConfig config = small;
  config.identities = {"bert.encoder.layer.0.attention.output.dense", "bert.encoder.layer.1.attention.self.query"};
  const Bert model(config);
  for (int first = 0; first <= static_cast<int>(model.linears().size()); ++first)
    expect_the_bits_of_each_alone(model, {above(model, "integer(width=6,frac=3)", first), replica(model, {})});
  std::vector<Replica> replicas(2, replica(model_, {}));
  replicas[1].formats.resize(model_.format_rows());
  replicas[1].formats[model_.tables()[2].index].w = parse_format("integer(width=4,frac=4)");
  expect_the_bits_of_each_alone(model_, replicas);
}

// How many replicas each Linear is computed for, in the order they run.
TEST(OneModel, BelowTheFirstDifferenceOneIsComputed) {
  const Bert model(small);
  const int R = 3, linears = static_cast<int>(model.linears().size());
  for (int first = 0; first <= linears; ++first) {
    std::vector<std::vector<LinearSpec>> formats(R, std::vector<LinearSpec>(linears));
    if (first < linears) formats[1][first] = parse_linear_spec("integer(width=6,frac=3)");
    const FormatTable table(model, formats);
    Arena arena;
    BertTensors tensors{.values = arena.tensor({model.parameters().size()}),
                        .quantized = arena.tensor({model.parameters().dense_size()}, R)};
    tensors.values.replicas = R;
    Tape tape(dry_ops(), arena, R, false);
    std::map<const void*, int> computed;  // by the weight
    tape.observe([&](std::span<const Linear1> problems) {
      for (const Linear1& p : problems) computed[p.w.data] = p.y.replicas;
    });
    const int32_t starts[] = {0, 5, 9};
    const Ragged ragged{starts, 2, 9, 5}, single{starts, 2, 2, 1};
    const BertBatch batch{.ragged = ragged, .single_rows = single, .tokens = starts, .segments = {}, .labels = starts};
    forward(tape, model, tensors, table, batch, {});
    ASSERT_EQ(computed.size(), linears);
    for (const Linear* linear : model.linears()) {
      const int layer_end = first < 3 ? 0 : first < 6 ? first : first < 9 ? 6 : first;  // q, k and v part together
      const Tensor& from = linear->index == first ? tensors.quantized : tensors.values;
      EXPECT_EQ(computed.at(view(from, *linear->weight).data), linear->index < layer_end ? 1 : R)
          << linear->name << ", different from " << first;
    }
  }
}

}  // namespace
}  // namespace mpq
