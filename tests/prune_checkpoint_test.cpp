// A pruned model as a folder: true zeros for Hugging Face, masks beside them; damaged ones are refused.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/safetensors.h"
#include "data/wordpiece.h"
#include "quant/tiles.h"
#include "tests/small_session.h"
#include "tests/temporary_folder.h"
#include "train/checkpoint.h"

namespace mpq {
namespace {
namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

class PruneCheckpointTest : public testing::Test {
 protected:
  PruneCheckpointTest() {
    pruning_.weights = parse_prune_spec("l1(sparsity=0.5)", Role::weight);
    pruning_.activations = parse_prune_spec("random(sparsity=0.25)", Role::activation);
    pruning_.linears = std::vector<bool>(model_.linears().size(), true);
    pruning_.linears.back() = false;
    pruning_.seed = 9;
  }
  std::unique_ptr<Session> open(const Pruning& pruning) {
    Replica one = replica(model_, {"integer(width=8,frac=4)"});
    one.pruning = pruning;
    return std::make_unique<Session>(*device_, model_, std::vector{one}, small_options);
  }
  std::unique_ptr<Session> trained() {
    auto session = open(pruning_);
    session->initialise();
    session->prune(0);
    for (int step = 0; step < 3; ++step) session->train_step(batch_at(step));
    return session;
  }
  void write(Session& session, const TrainingState* state = nullptr) {
    const WordPiece tokenizer({"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad"});
    write_checkpoint(folder_, session, 0, tokenizer, {{"no", "maybe", "yes"}, 12, Truncate::Head}, state);
  }
  // Writes masks.safetensors again with one of its tensors changed.
  void rewrite_masks(const std::function<void(SafeTensor&)>& change) {
    std::vector<std::vector<std::byte>> data;
    std::vector<SafeTensor> tensors;
    const fs::path path = folder_ / "masks.safetensors";
    {
      const SafeTensors file(path);
      data.reserve(file.entries().size());
      for (const SafeTensors::Entry& e : file.entries()) {
        data.emplace_back(e.data.begin(), e.data.end());
        tensors.push_back({e.name, e.dtype, e.shape, data.back().data()});
      }
    }
    change(tensors[0]);
    write_safetensors(path, tensors);
  }
  void change_pruning(const std::string& key, const Json& value) {
    Json json = Json::parse(std::ifstream(folder_ / "mpq.json"));
    json["pruning"][key] = value;
    std::ofstream(folder_ / "mpq.json") << json;
  }
  void expect_refused(const std::vector<std::string>& words) {
    try {
      read_checkpoint(folder_);
      FAIL() << "accepted";
    } catch (const UserError& error) {
      const std::string text = error.what() + ("\n" + error.hint());
      for (const std::string& word : words) EXPECT_NE(text.find(word), std::string::npos) << word << " in " << text;
    }
  }

  const Bert model_{small};
  std::unique_ptr<Device> device_ = open_device("cpu");
  Pruning pruning_;
  TemporaryFolder temporary_;
  fs::path folder_ = temporary_.path() / "checkpoint";
};

TEST_F(PruneCheckpointTest, ComesBackAndGoesOnPruning) {
  const auto session = trained();
  write(*session);
  const Checkpoint checkpoint = read_checkpoint(folder_);
  EXPECT_EQ(checkpoint.pruning, pruning_);
  EXPECT_EQ(checkpoint.masks, session->masks(0));
  const auto again = open(checkpoint.pruning);
  load_into(*again, 0, checkpoint);
  expect_same_bits({again->logits(batch_at(7))[0]}, {session->logits(batch_at(7))[0]});
  again->train_step(batch_at(3));
  for (const Linear* linear : model_.linears()) {
    const Floats values = again->get(0, *linear->weight);
    const auto& mask = again->masks(0)[linear->index];
    for (size_t i = 0; i < mask.size(); ++i) ASSERT_TRUE(mask[i] == 1 || values[i] == 0);
  }
}

TEST_F(PruneCheckpointTest, HuggingFaceSeesZerosAndNothingElse) {
  write(*trained());
  const SafeTensors file(folder_ / "model.safetensors");
  for (const Linear* linear : model_.linears()) {
    const Floats values = file.read_f32(linear->weight->name);
    const auto zeros = std::count(values.begin(), values.end(), 0.0f);
    EXPECT_EQ(zeros, linear == model_.linears().back() ? 0 : static_cast<int64_t>(values.size()) / 2);
  }
  for (const SafeTensors::Entry& e : file.entries()) EXPECT_EQ(e.name.find("mask"), std::string::npos);
}

TEST_F(PruneCheckpointTest, ResumesBitForBit) {
  const auto whole = trained(), first = trained();
  TrainingState state{.optimizer = first->optimizer_state(0), .options = "o", .loss = {1, 1, 1}, .norm = {1, 1, 1}};
  write(*first, &state);
  const auto second = open(pruning_);
  load_into(*second, 0, read_checkpoint(folder_));
  second->restore(0, read_training_state(folder_, model_, "o")->optimizer);
  for (int step = 3; step < 6; ++step) whole->train_step(batch_at(step)), second->train_step(batch_at(step));
  expect_same_bits(everything(*whole, 0), everything(*second, 0));
}

TEST_F(PruneCheckpointTest, PruningAgainGivesNothingBack) {
  const auto session = trained();
  write(*session);
  Pruning more = pruning_;
  more.weights = parse_prune_spec("random(sparsity=0.5)", Role::weight);
  const auto again = open(more);
  load_into(*again, 0, read_checkpoint(folder_));
  again->prune(0);
  for (const Linear* linear : model_.linears()) {
    const auto &before = session->masks(0)[linear->index], &now = again->masks(0)[linear->index];
    for (size_t i = 0; i < before.size(); ++i) ASSERT_LE(now[i], before[i]);
    EXPECT_TRUE(now.empty() || std::count(now.begin(), now.end(), 1) < std::count(before.begin(), before.end(), 1));
  }
}

TEST_F(PruneCheckpointTest, DensePrunesNothing) {
  const auto session = open({});
  session->initialise();
  write(*session);
  EXPECT_FALSE(fs::exists(folder_ / "masks.safetensors"));
  EXPECT_FALSE(read_checkpoint(folder_).pruning);
}

TEST_F(PruneCheckpointTest, DamagedMasksAreRefused) {
  const auto session = trained();
  write(*session);
  rewrite_masks([](SafeTensor& t) { t.shape = {8, 32}; });
  expect_refused({"masks.safetensors", "query.weight", "BOOL [8, 32]", "BOOL [16, 16]"});
  write(*session);
  rewrite_masks([](SafeTensor& t) { t.dtype = "U8"; });
  expect_refused({"U8"});
  write(*session);
  const std::vector<uint8_t> twos(256, 2);
  rewrite_masks([&](SafeTensor& t) { t.data = twos.data(); });
  expect_refused({"neither 0 nor 1"});
  write(*session);
  rewrite_masks([](SafeTensor& t) { t.name = "other"; });
  expect_refused({"query.weight"});
  fs::remove(folder_ / "masks.safetensors");
  expect_refused({"masks.safetensors is missing"});
}

TEST_F(PruneCheckpointTest, BadWordsInMpqJsonAreRefused) {
  const auto session = trained();
  for (const auto& [key, value] : std::vector<std::pair<std::string, Json>>{{"weights", "l1(sparsity=2)"},
                                                                            {"weights", 3},
                                                                            {"activations", "l1(pattern=2:4)"},
                                                                            {"linears", {"bert.nothing"}},
                                                                            {"linears", "all"},
                                                                            {"seed", -1}}) {
    write(*session);
    change_pruning(key, value);
    expect_refused({"mpq.json", "pruning." + key});
  }
}

}  // namespace
}  // namespace mpq
