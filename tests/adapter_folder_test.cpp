// Adapters in peft's format: what is written is read back, and what is damaged or no plain LoRA is refused.
#include "train/adapter_folder.h"

#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/safetensors.h"
#include "data/wordpiece.h"
#include "tests/temporary_folder.h"

namespace mpq {
namespace {
namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

BertConfig small_config() {
  BertConfig c;
  c.layers = 1, c.hidden = 16, c.heads = 2, c.ffn = 24, c.vocabulary = 9, c.positions = 12, c.classes = 3;
  return c;
}

class AdapterFolderTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto session = open({2, 5});
    write_checkpoint(base, *session, 0, WordPiece({"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c", "d"}),
                     info);
    write_adapter(folder, *session, 0, info, base);
  }
  std::unique_ptr<Session> open(const Lora& lora, const std::string& format = "none") {
    const std::vector<LinearSpec> formats(model.linears().size(), parse_linear_spec(format));
    auto session = std::make_unique<Session>(*device, model, std::vector<Replica>{{.formats = formats, .lora = lora}},
                                             SessionOptions{.eval_rows = 2, .max_tokens = 12, .training = false});
    session->initialise();
    std::vector<float> values = session->get(0, *model.adapters);
    for (int64_t i = 0; i < adapter_count(model, lora.rank); ++i) values[i] += 0.01f * static_cast<float>(i % 7);
    session->set(0, *model.adapters, values);
    return session;
  }
  static std::vector<std::vector<float>> say(Session& session) {
    Split split;
    split.tokens = {2, 5, 3, 2, 7, 6, 3};
    split.row_starts = {0, 3, 7};
    split.labels = {1, 2};
    return session.logits(make_batch(split, std::vector<int64_t>{0, 1}));
  }

  void change_config(const std::string& key, const Json& value) {
    Json config = Json::parse(std::ifstream(folder / "adapter_config.json"));
    config[key] = value;
    std::ofstream(folder / "adapter_config.json") << config;
  }
  struct Tensor {
    std::string name;
    std::vector<int64_t> shape;
    std::vector<float> values;
  };
  void change_tensors(const std::function<void(Tensor&)>& change) {
    std::vector<Tensor> all;
    {
      const SafeTensors file(folder / "adapter_model.safetensors");
      for (const SafeTensors::Entry& e : file.entries()) all.push_back({e.name, e.shape, file.read_f32(e.name)});
    }
    std::vector<SafeTensor> tensors;
    for (Tensor& t : all) {
      change(t);
      if (!t.name.empty()) tensors.push_back({t.name, "F32", t.shape, t.values.data()});
    }
    write_safetensors(folder / "adapter_model.safetensors", tensors);
  }
  void expect_refused(const std::string& word) {
    Checkpoint checkpoint = read_checkpoint(base);
    try {
      read_adapter(folder, checkpoint);
      FAIL() << "accepted, where " << word << " is wrong";
    } catch (const UserError& error) {
      EXPECT_NE((error.what() + ("\n" + error.hint())).find(word), std::string::npos) << error.what() << "\n"
                                                                                      << error.hint();
    }
  }

  const CheckpointInfo info{{"no", "maybe", "yes"}, 12, Truncate::HeadTail};
  Bert model{small_config(), {adapter_targets(Bert(small_config()), {"query", "dense"}), 3, 0.1f}};
  std::unique_ptr<Device> device = open_device("cpu");
  TemporaryFolder temporary;
  fs::path base = temporary.path() / "base", folder = temporary.path() / "adapter";
};

TEST_F(AdapterFolderTest, ComesBackBitForBit) {
  const auto session = open({2, 5}, "integer(width=8,frac=5)");
  write_adapter(folder, *session, 0, info, base);
  Checkpoint checkpoint = read_checkpoint(base);
  const AdapterFolder adapter = read_adapter(folder, checkpoint);
  EXPECT_EQ(adapter.lora, (Lora{2, 5}));
  EXPECT_EQ(adapter.plan.dropout, 0.1f);
  EXPECT_EQ(adapter.plan.linears, model.adapter_plan().linears);
  EXPECT_EQ(checkpoint.labels, info.labels);
  EXPECT_EQ(checkpoint.max_tokens, 12);
  EXPECT_EQ(checkpoint.formats, session->replica(0).formats);
  const Bert same(checkpoint.config, adapter.plan);
  Session other(*device, same, {{.formats = checkpoint.formats, .lora = adapter.lora}},
                {.eval_rows = 2, .max_tokens = 12, .training = false});
  load_into(other, 0, checkpoint);
  load_adapter(other, 0, adapter);
  EXPECT_EQ(say(other), say(*session));
  const Json config = Json::parse(std::ifstream(folder / "adapter_config.json"));
  EXPECT_EQ(config.at("r"), 2);
  EXPECT_EQ(config.at("lora_alpha"), 5);
  EXPECT_EQ(config.at("lora_dropout"), 0.1);
  const SafeTensors file(folder / "adapter_model.safetensors");
  const std::string name = "base_model.model.bert.encoder.layer.0.intermediate.dense.lora_";
  EXPECT_EQ(file.at(name + "A.weight").shape, (std::vector<int64_t>{2, 16}));
  EXPECT_EQ(file.at(name + "B.weight").shape, (std::vector<int64_t>{24, 2}));
}

// Without mpq.json, as peft leaves it: the base's labels, or as many as the classifier has rows.
TEST_F(AdapterFolderTest, WithoutOurOwnFileTheClassifierSaysHowManyLabels) {
  fs::remove(folder / "mpq.json");
  Checkpoint checkpoint = read_checkpoint(base);
  read_adapter(folder, checkpoint);
  EXPECT_EQ(checkpoint.labels, info.labels);
  change_tensors([](Tensor& t) {
    if (t.name.find("classifier") == std::string::npos) return;
    t.values.resize(t.values.size() / 3 * 2);
    t.shape[0] = 2;
  });
  read_adapter(folder, checkpoint);
  EXPECT_EQ(checkpoint.labels, (std::vector<std::string>{"LABEL_0", "LABEL_1"}));
  EXPECT_EQ(checkpoint.config.classes, 2);
  EXPECT_EQ(checkpoint.values.at("classifier.bias").size(), 2u);
}

TEST_F(AdapterFolderTest, OtherKindsOfAdaptersAreRefused) {
  const Json good = Json::parse(std::ifstream(folder / "adapter_config.json"));
  for (const auto& [key, value] : std::vector<std::pair<std::string, Json>>{{"peft_type", "IA3"},
                                                                            {"use_dora", true},
                                                                            {"use_rslora", true},
                                                                            {"fan_in_fan_out", true},
                                                                            {"bias", "all"},
                                                                            {"r", 0},
                                                                            {"r", -1},
                                                                            {"r", 1e12},
                                                                            {"r", "2"},
                                                                            {"lora_alpha", "x"},
                                                                            {"lora_dropout", 1},
                                                                            {"rank_pattern", {{"query", 4}}}}) {
    change_config(key, value);
    expect_refused(key);
    std::ofstream(folder / "adapter_config.json") << good;
  }
  change_config("r", 3);  // the tensors have 2
  expect_refused("[3, 16]");
}

TEST_F(AdapterFolderTest, DamagedTensorsAreRefused) {
  const std::string query = "base_model.model.bert.encoder.layer.0.attention.self.query.lora_A.weight";
  const std::string good = read_file(folder / "adapter_model.safetensors");
  const auto with = [&](const std::function<void(Tensor&)>& change, const std::string& word) {
    change_tensors([&](Tensor& t) {
      if (t.name == query) change(t);
    });
    expect_refused(word);
    std::ofstream(folder / "adapter_model.safetensors", std::ios::binary) << good;
  };
  with([](Tensor& t) { t.values[3] = std::numeric_limits<float>::quiet_NaN(); }, "nan");
  with([](Tensor& t) { t.shape = {16, 2}; }, "[2, 16]");
  with([](Tensor& t) { t.name = ""; }, "one matrix of two");
  with([](Tensor& t) { t.name = "base_model.model.bert.encoder.layer.9.output.dense.lora_A.weight"; }, "layer.9");
  with([](Tensor& t) { t.name = "base_model.model.bert.pooler.dense.lora_magnitude_vector"; }, "magnitude");
  with([](Tensor& t) { t.name = "query"; }, "query");
  std::ofstream(folder / "adapter_model.safetensors", std::ios::binary) << good.substr(0, good.size() / 2);
  expect_refused("adapter_model.safetensors");
  fs::remove(folder / "adapter_model.safetensors");
  expect_refused("holds no adapter_model.safetensors");
}

TEST_F(AdapterFolderTest, OnlyCheckpointsAndAdaptersAreReplaced) {
  const auto session = open({3, 1});
  write_adapter(folder, *session, 0, info, base);
  write_adapter(base, *session, 0, info, base);
  const fs::path other = temporary.path() / "other";
  fs::create_directory(other);
  std::ofstream(other / "notes") << "mine";
  EXPECT_THROW(write_adapter(other, *session, 0, info, base), UserError);
}

}  // namespace
}  // namespace mpq
