#include "train/bert_config_file.h"

#include <algorithm>

#include "base/file.h"
#include "base/json_file.h"
#include "base/log.h"
#include "base/text.h"

namespace mpq {
namespace {
using Json = nlohmann::ordered_json;

constexpr int max_classes = 65536;

// A BERT of which some Linears are left out. The type is mpq's own, so that transformers refuses the model, where it
// would else fill the Linears in with random numbers.
constexpr const char* kWithIdentities = "mpq-bert-with-identities";
constexpr const char* kIdentities = "identity_linears";

// What mpq's BERT computes; anything else would load and then give other logits.
void check_architecture(const JsonFile& file) {
  const auto expect = [&](const char* key, const char* fallback, const char* allowed) {
    const std::string found = file.text(key, fallback);
    if (found != allowed) file.fail(key, found, allowed);
  };
  const std::string type = file.text("model_type", "bert");                              // the oldest BERTs lack it
  if (type != "bert" && type != kWithIdentities) file.fail("model_type", type, "bert");  // tensors have other names
  if ((type == kWithIdentities) != file.has(kIdentities))
    file.fail("model_type", type, fmt::format("{} together with {}", kWithIdentities, kIdentities));
  expect("hidden_act", "gelu", "gelu");
  expect("position_embedding_type", "absolute", "absolute");
  expect("problem_type", "single_label_classification", "single_label_classification");
  for (const char* key : {"is_decoder", "add_cross_attention"})
    if (file.flag(key, false)) file.fail(key, "true", "false");
}

int size_of(const JsonFile& file, const char* key, int fallback, int max) {
  return static_cast<int>(file.integer(key, fallback, 1, max));
}

std::set<std::string> read_identities(const JsonFile& file, const BertConfig& config) {
  const std::vector<std::string> square = square_linears(config);
  std::set<std::string> identities;
  for (const std::string& name : file.texts(kIdentities)) {
    if (std::find(square.begin(), square.end(), name) == square.end())
      file.fail(kIdentities, name, "Linears of as many outputs as inputs, but for the classifier");
    if (!identities.insert(name).second) file.fail(kIdentities, name + " twice", "every Linear once");
  }
  return identities;
}

// The defaults are those of Hugging Face's BertConfig.
BertConfig read_sizes(const JsonFile& file) {
  BertConfig c;
  c.layers = size_of(file, "num_hidden_layers", 12, 1024);
  c.hidden = size_of(file, "hidden_size", 768, 65536);
  c.heads = size_of(file, "num_attention_heads", 12, 8192);
  c.ffn = size_of(file, "intermediate_size", 3072, 1 << 20);
  c.vocabulary = size_of(file, "vocab_size", 30522, 1 << 24);
  c.positions = size_of(file, "max_position_embeddings", 512, 1 << 20);
  c.types = size_of(file, "type_vocab_size", 2, 1024);
  c.layer_norm_epsilon = static_cast<float>(file.real("layer_norm_eps", 1e-12, 0, 1));
  c.initializer_range = static_cast<float>(file.real("initializer_range", 0.02, 0, 10));
  c.hidden_dropout = static_cast<float>(file.real("hidden_dropout_prob", 0.1, 0, 0.999));
  c.attention_dropout = static_cast<float>(file.real("attention_probs_dropout_prob", 0.1, 0, 0.999));
  if (c.hidden % c.heads != 0 || c.hidden / c.heads < 8 || c.hidden / c.heads > 256)
    file.fail("hidden_size", fmt::format("{} with num_attention_heads {}", c.hidden, c.heads),
              "8 to 256 columns a head");
  c.identities = read_identities(file, c);
  const double classifier_dropout = file.real("classifier_dropout", c.hidden_dropout, 0, 1);
  if (static_cast<float>(classifier_dropout) != c.hidden_dropout)
    log().warn("{}: classifier_dropout {} is not used; the classifier drops out like the rest, {}",
               file.path().string(), classifier_dropout, c.hidden_dropout);
  return c;
}

// id2label {"0": name, "1": name ...}; without it num_labels (2) names as Hugging Face makes them.
std::vector<std::string> read_labels(const JsonFile& file) {
  const Json names = file.object("id2label");
  const auto count = names.empty() ? static_cast<size_t>(file.integer("num_labels", 2, 1, max_classes)) : names.size();
  std::vector<std::string> labels(count);
  for (size_t i = 0; i < count; ++i) labels[i] = fmt::format("LABEL_{}", i);
  for (const auto& [key, name] : names.items()) {
    const auto id = parse_int(key);
    if (!id || *id < 0 || *id >= static_cast<int64_t>(count) || count > max_classes || !name.is_string())
      file.fail("id2label", fmt::format("{{\"{}\": {}, ...}}", key, name.dump()),
                fmt::format("names of the labels 0 to {}", count - 1));
    labels[*id] = name.get<std::string>();
  }
  return labels;
}

// The shortest decimal that reads back as this float: 0.1 instead of 0.10000000149011612.
double as_written(float x) { return *parse_double(fmt::format("{}", x)); }

}  // namespace

BertConfigFile read_bert_config(const std::filesystem::path& path) {
  const JsonFile file(path);
  check_architecture(file);
  BertConfigFile result{read_sizes(file), read_labels(file), 0};
  result.config.classes = static_cast<int>(result.labels.size());
  result.pad_token = static_cast<int>(file.integer("pad_token_id", 0, 0, result.config.vocabulary - 1));
  return result;
}

static void add_labels(Json& json, const std::vector<std::string>& labels) {
  Json id2label = Json::object(), label2id = Json::object();
  for (size_t i = 0; i < labels.size(); ++i) {
    id2label[std::to_string(i)] = labels[i];
    label2id[labels[i]] = i;
  }
  json["problem_type"] = "single_label_classification";
  json["id2label"] = id2label;
  json["label2id"] = label2id;
}

static Json architectures(bool whole, Head head) {
  if (!whole) return Json::array();
  return {head == Head::classifier ? "BertForSequenceClassification" : "BertForMaskedLM"};
}

void write_bert_config(const std::filesystem::path& path, const BertConfigFile& file, Head head) {
  const BertConfig& c = file.config;
  const bool whole = c.identities.empty();
  Json json = {{"architectures", architectures(whole, head)},
               {"model_type", whole ? "bert" : kWithIdentities},
               {"dtype", "float32"},
               {"hidden_act", "gelu"},
               {"position_embedding_type", "absolute"},
               {"num_hidden_layers", c.layers},
               {"hidden_size", c.hidden},
               {"num_attention_heads", c.heads},
               {"intermediate_size", c.ffn},
               {"vocab_size", c.vocabulary},
               {"max_position_embeddings", c.positions},
               {"type_vocab_size", c.types},
               {"layer_norm_eps", as_written(c.layer_norm_epsilon)},
               {"initializer_range", as_written(c.initializer_range)},
               {"hidden_dropout_prob", as_written(c.hidden_dropout)},
               {"attention_probs_dropout_prob", as_written(c.attention_dropout)},
               {"classifier_dropout", nullptr},
               {"pad_token_id", file.pad_token}};
  if (head == Head::classifier) add_labels(json, file.labels);
  if (!whole) {
    json[kIdentities] = c.identities;
    json["note"] = "mpq's own: BERT without these Linears; transformers has no such model";
  }
  write_file_atomic(path, json.dump(2) + "\n");
}

}  // namespace mpq
