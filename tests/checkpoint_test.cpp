// Checkpoints: what is written is read back bit for bit, what transformers writes is understood, what is damaged is
// refused with a message, and a killed writer leaves the old folder whole.
#include "train/checkpoint.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/safetensors.h"
#include "data/wordpiece.h"
#include "tests/temporary_folder.h"
#include "tests/torch_pickle.h"
#include "train/bert_config_file.h"
#include "train/hugging_face_names.h"

namespace mpq {
namespace {
namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

BertConfig small_config() {
  BertConfig c;
  c.layers = 2, c.hidden = 16, c.heads = 2, c.ffn = 24, c.vocabulary = 9, c.positions = 12, c.classes = 3;
  return c;
}

std::shared_ptr<Tokenizer> small_tokenizer() {
  return std::make_shared<WordPiece>(
      std::vector<std::string>{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "not", "##ly"});
}

std::vector<LinearSpec> formats_of(const Bert& model, const std::string& text) {
  return std::vector<LinearSpec>(model.linears().size(), parse_linear_spec(text));
}

Batch small_batch() {
  Split split;
  split.tokens = {2, 5, 3, 2, 7, 6, 3};
  split.row_starts = {0, 3, 7};
  split.labels = {1, 2};
  return make_batch(split, std::vector<int64_t>{0, 1});
}

class CheckpointTest : public testing::Test {
 protected:
  std::unique_ptr<Session> make_session(const std::string& format = "none", uint64_t seed = 7) {
    const Replica replica{
        .seed = seed, .schedule = {.learning_rate = 0.01, .steps = 6}, .formats = formats_of(model, format)};
    return std::make_unique<Session>(*device, model, std::vector{replica},
                                     SessionOptions{.batch_rows = 2, .eval_rows = 2, .max_tokens = 12});
  }
  std::unique_ptr<Session> fresh_session(const std::string& format = "none", uint64_t seed = 7) {
    auto session = make_session(format, seed);
    session->initialise(0);
    return session;
  }
  void write(Session& session, const TrainingState* state = nullptr) {
    write_checkpoint(folder, session, 0, *small_tokenizer(), {{"no", "maybe", "yes"}, 12, Truncate::HeadTail}, state);
  }
  void change_config(const std::string& key, const Json& value) {
    Json config = Json::parse(std::ifstream(folder / "config.json"));
    config[key] = value;
    std::ofstream(folder / "config.json") << config;
  }

  // Writes the checkpoint's tensors again; `change` may rename one (or drop it, with ""), or alter its values.
  struct Change {
    std::string name;
    std::vector<int64_t> shape;
    std::vector<float> values;
  };
  void rewrite_tensors(const std::function<void(Change&)>& change) {
    std::vector<Change> changed;
    {
      const SafeTensors file(folder / "model.safetensors");
      for (const SafeTensors::Entry& e : file.entries()) {
        Change c{e.name, e.shape, file.read_f32(e.name)};
        change(c);
        if (!c.name.empty()) changed.push_back(c);
      }
    }
    std::vector<SafeTensor> tensors;
    for (const Change& c : changed) tensors.push_back({c.name, "F32", c.shape, c.values.data()});
    write_safetensors(folder / "model.safetensors", tensors);
  }

  // The message and hint of reading must hold each of these words.
  void expect_refused(const std::vector<std::string>& words) {
    try {
      require_head(read_checkpoint(folder));
      FAIL() << "accepted";
    } catch (const UserError& error) {
      for (const std::string& word : words)
        EXPECT_NE((error.what() + ("\n" + error.hint())).find(word), std::string::npos) << error.what() << "\n"
                                                                                        << error.hint();
    }
  }

  Bert model{small_config()};
  std::unique_ptr<Device> device = open_device("cpu");
  TemporaryFolder temporary;
  fs::path folder = temporary.path() / "checkpoint";
};

TEST_F(CheckpointTest, ComesBackBitForBit) {
  auto session = fresh_session();
  write(*session);
  const Checkpoint c = read_checkpoint(folder);
  require_head(c);
  EXPECT_EQ(c.config, small_config());
  EXPECT_EQ(c.labels, (std::vector<std::string>{"no", "maybe", "yes"}));
  EXPECT_EQ(c.max_tokens, 12);
  EXPECT_EQ(c.truncate, Truncate::HeadTail);
  auto other = make_session("none", 8);
  load_into(*other, 0, c);
  EXPECT_EQ(session->logits(small_batch()), other->logits(small_batch()));
  EXPECT_EQ(open_tokenizer(folder)->encode("not goodly bad"), small_tokenizer()->encode("not goodly bad"));
}

TEST_F(CheckpointTest, KeepsFormatsAndWhatTheyTrain) {
  const std::string format = "binary_residual(levels=2)";
  auto session = fresh_session(format);
  const Parameter& trained = *model.linears()[3]->trained;
  session->set(0, trained, std::vector<float>{0.5f, 0.25f, 0, 2});
  write(*session);
  const Checkpoint c = read_checkpoint(folder);
  EXPECT_EQ(c.formats, formats_of(model, format));
  auto same = make_session(format);
  load_into(*same, 0, c);
  EXPECT_EQ(same->get(0, trained), (std::vector<float>{0.5f, 0.25f, 0, 2}));
  auto other = make_session("binary_residual(levels=3)");  // means of another format are not for this one
  load_into(*other, 0, c);
  EXPECT_NE(other->get(0, trained), (std::vector<float>{0.5f, 0.25f, 0, 2}));
  const SafeTensors weights(folder / "model.safetensors");  // transformers sees its own names only
  for (const auto& entry : weights.entries()) EXPECT_FALSE(entry.name.ends_with(".quantizer")) << entry.name;
}

TEST_F(CheckpointTest, KeepsFormatsOfEmbeddingTables) {
  Replica replica{.formats = formats_of(model, "integer(width=8,frac=4)")};
  replica.formats.resize(model.format_rows());
  replica.formats[model.tables()[0].index].w = parse_format("scaled_integer(width=4,per=tensor)");
  const SessionOptions options{.batch_rows = 2, .eval_rows = 2, .max_tokens = 12, .training = false};
  Session session(*device, model, {replica}, options);
  session.initialise();
  write(session);
  const Checkpoint c = read_checkpoint(folder);
  EXPECT_EQ(c.formats, replica.formats);
  Session same(*device, model, {{.formats = c.formats}}, options);
  load_into(same, 0, c);
  EXPECT_EQ(same.logits(small_batch()), session.logits(small_batch()));
}

TEST_F(CheckpointTest, ResumesBitForBit) {
  auto whole = fresh_session("binary_residual(levels=2)"), half = fresh_session("binary_residual(levels=2)");
  TrainingState state{.options = "recipe 1", .seconds = 1.5};
  for (int step = 0; step < 6; ++step) {
    const auto result = whole->train_step(small_batch());
    if (step >= 3) continue;
    half->train_step(small_batch());
    state.loss.push_back(result.loss[0]), state.norm.push_back(result.norm[0]);
  }
  state.optimizer = half->optimizer_state(0);
  write(*half, &state);
  const auto read = read_training_state(folder, model, "recipe 1");
  ASSERT_TRUE(read);
  EXPECT_EQ(read->loss, state.loss);
  EXPECT_EQ(read->norm, state.norm);
  EXPECT_EQ(read->seconds, 1.5);
  auto resumed = make_session("binary_residual(levels=2)");
  load_into(*resumed, 0, read_checkpoint(folder));
  resumed->restore(0, read->optimizer);
  EXPECT_EQ(resumed->step(), 3);
  for (int step = 3; step < 6; ++step) resumed->train_step(small_batch());
  for (const Parameter& p : model.parameters().all()) EXPECT_EQ(resumed->get(0, p), whole->get(0, p)) << p.name;
  EXPECT_THROW(read_training_state(folder, model, "recipe 2"), UserError);
}

TEST_F(CheckpointTest, HasNoTrainingStateUnlessAsked) {
  write(*fresh_session());
  EXPECT_FALSE(read_training_state(folder, model, ""));
}

TEST(HugingFaceNames, OldAndPartialOnesAreUnderstood) {
  EXPECT_EQ(canonical_name("embeddings.LayerNorm.gamma"), "bert.embeddings.LayerNorm.weight");
  EXPECT_EQ(canonical_name("bert.encoder.layer.3.output.LayerNorm.beta"), "bert.encoder.layer.3.output.LayerNorm.bias");
  EXPECT_EQ(canonical_name("pooler.dense.weight"), "bert.pooler.dense.weight");
  EXPECT_EQ(canonical_name("classifier.bias"), "classifier.bias");
  EXPECT_TRUE(is_ignorable("bert.embeddings.position_ids"));
  EXPECT_TRUE(is_ignorable("cls.predictions.decoder.weight"));
  EXPECT_FALSE(is_ignorable("bert.pooler.dense.weight"));
}

TEST_F(CheckpointTest, StartsFromAnEncoderAlone) {
  auto session = fresh_session();
  write(*session);
  rewrite_tensors([](Change& c) {
    if (c.name.starts_with("classifier.") || c.name.starts_with("bert.pooler."))
      c.name = "";
    else
      c.name = c.name.substr(5);  // as BertModel.save_pretrained
    if (c.name == "embeddings.LayerNorm.weight") c.name = "embeddings.LayerNorm.gamma";
  });
  Checkpoint c = read_checkpoint(folder);
  EXPECT_THROW(require_head(c), UserError);
  replace_labels(c, {"a", "b", "c"});
  auto other = make_session("none", 8);
  load_into(*other, 0, c);
  EXPECT_EQ(other->get(0, *model.word), session->get(0, *model.word));
  EXPECT_EQ(other->get(0, *model.embedding_gamma), session->get(0, *model.embedding_gamma));
  EXPECT_EQ(other->get(0, *model.classifier.weight), fresh_session("none", 8)->get(0, *model.classifier.weight));
}

// As the oldest models ship: a pickle with LayerNorm's old names and without the prefix, and a config without
// model_type.
TEST_F(CheckpointTest, StartsFromAPickledEncoder) {
  auto session = fresh_session();
  write(*session);
  std::string items, storages;
  std::vector<std::string> keys;
  rewrite_tensors([&](Change& c) {
    std::string name = c.name.starts_with("bert.") ? c.name.substr(5) : c.name;
    if (name == "embeddings.LayerNorm.weight") name = "embeddings.LayerNorm.gamma";
    std::vector<int64_t> strides(c.shape.size(), 1);
    if (c.shape.size() == 2) strides[0] = c.shape[1];
    const auto count = static_cast<int64_t>(c.values.size());
    keys.push_back(c.name);
    items += named(name, pickled_tensor(pickled_storage(c.name, count), 0, c.shape, strides));
    storages += little_endian(c.values.size(), 8);
    storages.append(reinterpret_cast<const char*>(c.values.data()), 4 * c.values.size());
  });
  const std::string pickle = legacy_torch_file("}" + items, keys, storages);
  fs::remove(folder / "model.safetensors");
  std::ofstream(folder / "pytorch_model.bin", std::ios::binary) << pickle;
  Json config = Json::parse(std::ifstream(folder / "config.json"));
  config.erase("model_type");
  std::ofstream(folder / "config.json") << config;
  const Checkpoint c = read_checkpoint(folder);
  require_head(c);
  auto other = make_session("none", 8);
  load_into(*other, 0, c);
  EXPECT_EQ(session->logits(small_batch()), other->logits(small_batch()));
  EXPECT_THROW(check_checkpoint_target(folder), UserError) << "somebody's download is not replaced";
  std::ofstream(folder / "pytorch_model.bin", std::ios::binary) << pickle.substr(0, pickle.size() - 1);
  expect_refused({"pytorch_model.bin", "only plain tensors"});
}

TEST_F(CheckpointTest, OtherLabelsMakeTheClassifierFresh) {
  write(*fresh_session());
  Checkpoint c = read_checkpoint(folder);
  replace_labels(c, {"no", "maybe", "yes"});
  EXPECT_TRUE(c.values.contains("classifier.weight"));
  replace_labels(c, {"neg", "pos"});
  EXPECT_FALSE(c.values.contains("classifier.weight"));
  EXPECT_EQ(c.config.classes, 2);
}

TEST_F(CheckpointTest, HalfPrecisionIsRead) {
  auto session = fresh_session();
  write(*session);
  std::vector<std::vector<uint16_t>> halves;
  std::vector<SafeTensor> tensors;
  const std::string copy = (temporary.path() / "copy").string();
  fs::copy(folder / "model.safetensors", copy);
  const SafeTensors file(copy);
  for (const auto& e : file.entries()) {
    auto& half = halves.emplace_back();
    for (const float v : file.read_f32(e.name)) half.push_back(static_cast<uint16_t>(std::bit_cast<uint32_t>(v) >> 16));
    tensors.push_back({e.name, "BF16", e.shape, half.data()});
  }
  write_safetensors(folder / "model.safetensors", tensors);
  const float weight = read_checkpoint(folder).values.at("classifier.weight")[5],
              full = session->get(0, *model.classifier.weight)[5];
  EXPECT_EQ(std::bit_cast<uint32_t>(weight), std::bit_cast<uint32_t>(full) & 0xffff0000u);
}

TEST_F(CheckpointTest, OtherArchitecturesAreRefused) {
  write(*fresh_session());
  const auto refuse = [&](const std::string& key, const Json& value, const std::vector<std::string>& words) {
    const std::string before = read_file(folder / "config.json");
    change_config(key, value);
    expect_refused(words);
    std::ofstream(folder / "config.json") << before;
  };
  refuse("model_type", "roberta", {"config.json", "model_type", "roberta", "bert"});
  refuse("hidden_act", "gelu_new", {"hidden_act", "gelu_new", "gelu"});
  refuse("position_embedding_type", "relative_key", {"position_embedding_type", "absolute"});
  refuse("problem_type", "regression", {"problem_type"});
  refuse("is_decoder", true, {"is_decoder"});
  refuse("hidden_size", 0, {"hidden_size"});
  refuse("hidden_size", "16", {"hidden_size"});
  refuse("num_attention_heads", 3, {"num_attention_heads 3"});
  refuse("vocab_size", 1e30, {"vocab_size"});
  refuse("vocab_size", 18446744073709551615u, {"vocab_size"});
  refuse("hidden_dropout_prob", 1.5, {"hidden_dropout_prob"});
  refuse("id2label", Json{{"1", "x"}}, {"id2label"});
}

TEST_F(CheckpointTest, AnotherShapeIsRefused) {
  write(*fresh_session());
  change_config("intermediate_size", 32);
  expect_refused({"model.safetensors", "intermediate.dense.weight", "[24, 16]", "[32, 16]"});
}

TEST_F(CheckpointTest, MoreLayersThanTheConfigSaysAreRefused) {
  write(*fresh_session());
  change_config("num_hidden_layers", 1);
  expect_refused({"model.safetensors", "bert.encoder.layer.1.", "1 layers"});
}

TEST_F(CheckpointTest, AMissingTensorIsNamed) {
  write(*fresh_session());
  rewrite_tensors([](Change& c) {
    if (c.name == "bert.encoder.layer.1.output.dense.bias") c.name = "";
  });
  expect_refused({"bert.encoder.layer.1.output.dense.bias", "missing", "[16]"});
}

TEST_F(CheckpointTest, NanIsRefused) {
  write(*fresh_session());
  rewrite_tensors([](Change& c) {
    if (c.name == "classifier.bias") c.values[1] = std::nanf("");
  });
  expect_refused({"classifier.bias", "nan", "value 1"});
}

TEST_F(CheckpointTest, TwoNamesForOneTensorAreRefused) {
  write(*fresh_session());
  rewrite_tensors([](Change& c) {
    if (c.name == "bert.encoder.layer.0.output.LayerNorm.weight")
      c.name = "bert.encoder.layer.1.output.LayerNorm.gamma";
  });
  expect_refused({"two names"});
}

TEST_F(CheckpointTest, DamagedFilesAreRefused) {
  write(*fresh_session());
  for (const std::string name : {"model.safetensors", "config.json", "mpq.json"}) {
    const std::string whole = read_file(folder / name);
    for (const size_t length : {size_t{0}, size_t{5}, whole.size() / 2, whole.size() - 3}) {
      std::ofstream(folder / name, std::ios::binary) << whole.substr(0, length);
      expect_refused({name});
    }
    std::ofstream(folder / name, std::ios::binary) << std::string(100000, '[');
    expect_refused({name});
    std::ofstream(folder / name, std::ios::binary) << whole;
  }
  require_head(read_checkpoint(folder));
}

TEST_F(CheckpointTest, UnknownLinearsAndFormatsAreRefused) {
  write(*fresh_session());
  const auto write_formats = [&](const std::string& name, const std::string& spec) {
    std::ofstream(folder / "mpq.json") << Json{{"formats", {{name, spec}}}};
  };
  write_formats("bert.encoder.layer.7.output.dense", "none");
  expect_refused({"mpq.json", "bert.encoder.layer.7.output.dense"});
  write_formats("classifier", "integr(width=8)");
  expect_refused({"integr"});
  write_formats("bert.embeddings.word_embeddings", "x=none;w=none;b=none");
  expect_refused({"bert.embeddings.word_embeddings", "embedding table"});
  write_formats("bert.embeddings.word_embeddings", "binary_residual(levels=2)");
  expect_refused({"bert.embeddings.word_embeddings", "trains"});
  write_formats("bert.embeddings.LayerNorm", "none");
  expect_refused({"bert.embeddings.LayerNorm"});
}

TEST_F(CheckpointTest, FoldersWithoutWeightsSayWhatToDo) {
  expect_refused({"no such folder"});
  fs::create_directory(folder);
  expect_refused({"holds no model.safetensors"});
  std::ofstream(folder / "pytorch_model.bin.index.json") << "{}";
  expect_refused({"several files"});
}

TEST_F(CheckpointTest, NothingElseIsReplaced) {
  auto session = fresh_session();
  fs::create_directory(folder);
  std::ofstream(folder / "thesis.tex") << "years of work";
  EXPECT_THROW(write(*session), UserError);
  EXPECT_TRUE(fs::exists(folder / "thesis.tex"));
}

TEST_F(CheckpointTest, AVocabularyThatIsTooLargeIsRefused) {
  write(*fresh_session());
  Checkpoint c = read_checkpoint(folder);
  check_vocabulary(c, *small_tokenizer());
  c.config.vocabulary = 8;
  EXPECT_THROW(check_vocabulary(c, *small_tokenizer()), UserError);
}

// A child replaces the checkpoint again and again, alternating two models, until it is killed; whatever a reader finds,
// at any time and afterwards, is one of the two.
TEST_F(CheckpointTest, AKilledWriterLeavesAWholeCheckpoint) {
  auto one = fresh_session("none", 1), two = fresh_session("none", 2);
  write(*one);
  const auto first = one->get(0, *model.classifier.weight), second = two->get(0, *model.classifier.weight);
  for (const int milliseconds : {3, 11, 20}) {
    const pid_t child = ::fork();
    if (child == 0)
      for (;;) write(*two), write(*one);
    for (int waited = 0; waited < milliseconds; ++waited) {
      ::usleep(1000);
      const Checkpoint c = read_checkpoint(folder);
      EXPECT_TRUE(c.values.at("classifier.weight") == first || c.values.at("classifier.weight") == second);
    }
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    const auto& found = read_checkpoint(folder).values;
    const bool is_first = found.at("classifier.weight") == first;
    const auto& whole = is_first ? one : two;
    for (const auto& [name, values] : found) EXPECT_EQ(values, whole->get(0, *model.parameters().find(name))) << name;
  }
}

}  // namespace
}  // namespace mpq
