#include "train/adapter_folder.h"

#include <algorithm>
#include <utility>

#include "base/file.h"
#include "base/json_file.h"
#include "train/hugging_face_names.h"
#include "train/tensor_values.h"

namespace mpq {
namespace fs = std::filesystem;
namespace {
using Json = nlohmann::ordered_json;

constexpr const char* kConfig = "adapter_config.json";
constexpr const char* kWeights = "adapter_model.safetensors";
constexpr const char* kInfo = "mpq.json";
constexpr const char* kPrefix = "base_model.model.";
constexpr int kHighestRank = 1 << 16;

// Plain LoRA and nothing else: what would change the sum is refused, what only helped training is passed over.
void read_config(AdapterFolder& adapter) {
  const JsonFile file(adapter.folder / kConfig);
  const auto only = [&](const char* key, const std::string& allowed) {
    if (const std::string found = file.text(key, allowed); found != allowed) file.fail(key, found, allowed);
  };
  only("peft_type", "LORA");
  only("bias", "none");
  for (const char* key : {"use_dora", "use_rslora", "fan_in_fan_out", "lora_bias"})
    if (file.flag(key, false)) file.fail(key, "true", "false");
  for (const char* key : {"rank_pattern", "alpha_pattern"})
    if (!file.object(key).empty()) file.fail(key, file.object(key).dump(), "{}");
  adapter.lora.rank = adapter.plan.most_rank = static_cast<int>(file.integer("r", 8, 1, kHighestRank));
  adapter.lora.alpha = file.real("lora_alpha", 8, -1e9, 1e9);
  adapter.plan.dropout = static_cast<float>(file.real("lora_dropout", 0, 0, 0.999));
}

// "encoder.layer.0.attention.self.query" -> the Linear, whatever model class was the base.
const Linear* linear_named(const Bert& model, const std::string& module) {
  const std::string name = canonical_name(module + ".weight");
  for (const Linear* linear : model.linears())
    if (linear->name + ".weight" == name) return linear;
  return nullptr;
}

// A tensor of the file and its place in the model.
class AdapterReader {
 public:
  AdapterReader(AdapterFolder& adapter, Checkpoint& base, const Bert& model)
      : adapter_(adapter), base_(base), model_(model), path_(adapter.folder / kWeights), file_(path_) {}

  void read() {
    for (const NamedTensors::Entry& entry : file_.entries()) {
      if (!entry.name.starts_with(kPrefix)) refuse(entry);
      const std::string name = entry.name.substr(std::string_view(kPrefix).size());
      if (name.starts_with("classifier."))
        read_classifier(entry, name);
      else if (name.ends_with(".lora_A.weight"))
        read_matrix(entry, name, true);
      else if (name.ends_with(".lora_B.weight"))
        read_matrix(entry, name, false);
      else
        refuse(entry);
    }
    for (const Linear* linear : model_.linears()) {
      const auto found = adapter_.matrices.find(linear->name);
      if (found == adapter_.matrices.end()) continue;
      if (found->second.a.empty() || found->second.b.empty())
        throw UserError(fmt::format("{}: {} has one matrix of two", path_.string(), linear->name),
                        "lora_A.weight and lora_B.weight belong together");
      adapter_.plan.linears.push_back(linear->name);
    }
    if (adapter_.plan.linears.empty()) throw UserError(fmt::format("{} holds no adapter", path_.string()));
  }

 private:
  [[noreturn]] void refuse(const NamedTensors::Entry& entry) const {
    throw UserError(fmt::format("{}: tensor {} has no place in the model", path_.string(), entry.name),
                    "LoRA on the Linears of BERT and a classifier trained with it are understood");
  }
  void read_matrix(const NamedTensors::Entry& entry, const std::string& name, bool is_a) {
    const Linear* linear =
        linear_named(model_, name.substr(0, name.size() - std::string_view(".lora_A.weight").size()));
    if (!linear || linear == &model_.classifier) refuse(entry);
    const int64_t rank = adapter_.lora.rank, out = linear->weight->shape[0], in = linear->weight->shape[1];
    const std::vector<int64_t> shape = is_a ? std::vector{rank, in} : std::vector{out, rank};
    auto& matrices = adapter_.matrices[linear->name];
    (is_a ? matrices.a : matrices.b) = read_values(file_, entry, shape, path_, fmt::format("{} and the base", kConfig));
  }
  void read_classifier(const NamedTensors::Entry& entry, const std::string& name) {
    const int64_t classes = static_cast<int64_t>(base_.labels.size());
    const bool weight = name == "classifier.weight";
    if (!weight && name != "classifier.bias") refuse(entry);
    const std::vector<int64_t> shape =
        weight ? std::vector{classes, int64_t{base_.config.hidden}} : std::vector{classes};
    base_.values[name] = read_values(file_, entry, shape, path_, fmt::format("{} labels", classes));
  }

  AdapterFolder& adapter_;
  Checkpoint& base_;
  const Bert& model_;
  fs::path path_;
  SafeTensors file_;
};

// Rows of the file's classifier, or what the base has.
size_t classes_of(const fs::path& folder, const Checkpoint& base) {
  const SafeTensors file(folder / kWeights);
  const std::string name = std::string(kPrefix) + "classifier.weight";
  if (!file.contains(name)) return base.labels.size();
  const auto& shape = file.at(name).shape;
  if (shape.size() != 2 || shape[0] < 1 || shape[0] > 65536)
    throw UserError(fmt::format("{}: tensor {} is {}", (folder / kWeights).string(), name, to_text(shape)),
                    "a classifier is [classes, hidden]");
  return static_cast<size_t>(shape[0]);
}

// The names in mpq.json; peft keeps none: the base's, or Hugging Face's own for so many.
std::vector<std::string> labels_of(const fs::path& folder, const Checkpoint& base) {
  const size_t classes = classes_of(folder, base);
  std::vector<std::string> labels;
  if (fs::exists(folder / kInfo)) {
    const JsonFile file(folder / kInfo);
    labels = file.texts("labels");
    if (!labels.empty() && labels.size() != classes)
      file.fail("labels", fmt::format("{} names", labels.size()), fmt::format("the {} of {}", classes, kWeights));
  }
  if (labels.empty() && classes == base.labels.size()) return base.labels;
  while (labels.size() < classes) labels.push_back(fmt::format("LABEL_{}", labels.size()));
  return labels;
}

// What a format trained in the base is nothing to another one.
void take_formats(Checkpoint& base, const fs::path& folder, const Bert& model) {
  if (!fs::exists(folder / kInfo)) return;
  const std::vector<LinearSpec> before = std::exchange(base.formats, std::vector<LinearSpec>(base.formats.size()));
  read_info(base, folder);
  for (const Linear* linear : model.linears())
    if (base.formats[linear->index].x != before[linear->index].x) base.values.erase(linear->trained->name);
}

}  // namespace

AdapterFolder read_adapter(const fs::path& folder, Checkpoint& base) {
  for (const char* name : {kConfig, kWeights})
    if (!fs::exists(folder / name))
      throw UserError(
          fmt::format("{} holds no {}", folder.string(), name),
          "an adapter is a folder with adapter_config.json and adapter_model.safetensors, as peft writes it");
  AdapterFolder adapter{.folder = folder, .plan = {}, .lora = {}, .matrices = {}};
  read_config(adapter);
  base.labels = labels_of(folder, base);
  if (base.config.classes != static_cast<int>(base.labels.size()))
    std::erase_if(base.values, [](const auto& value) { return value.first.starts_with("classifier."); });
  base.config.classes = static_cast<int>(base.labels.size());
  const Bert model(base.config);
  AdapterReader(adapter, base, model).read();
  take_formats(base, folder, model);
  return adapter;
}

void load_adapter(Session& session, int replica, const AdapterFolder& adapter) {
  const Bert& model = session.model();
  const int64_t rank = adapter.lora.rank;
  check(session.replica(replica).lora == adapter.lora, "{} is of another rank", adapter.folder.string());
  std::vector<float> values(model.adapters->shape.size(), 0.0f);
  for (const AdapterPlace& place : adapter_places(model, adapter.lora.rank)) {
    const AdapterFolder::Matrices& from = adapter.matrices.at(place.linear->name);
    std::copy(from.a.begin(), from.a.end(), values.begin() + place.a);
    for (int64_t n = 0; n < place.N; ++n)
      for (int64_t j = 0; j < rank; ++j) values[place.b + j * place.N + n] = from.b[n * rank + j];
  }
  session.set(replica, *model.adapters, values);
}

namespace {

void write_config(const fs::path& folder, const Session& session, int replica, const std::string& base) {
  const Lora& lora = session.replica(replica).lora;
  const AdapterPlan& plan = session.model().adapter_plan();
  const bool whole = lora.alpha == static_cast<double>(static_cast<int64_t>(lora.alpha));
  const Json json = {{"peft_type", "LORA"},
                     {"task_type", "SEQ_CLS"},
                     {"base_model_name_or_path", base},
                     {"r", lora.rank},
                     {"lora_alpha", whole ? Json(static_cast<int64_t>(lora.alpha)) : Json(lora.alpha)},
                     {"lora_dropout", std::stod(fmt::format("{}", plan.dropout))},  // 0.1, not the float's digits
                     {"target_modules", plan.linears},
                     {"modules_to_save", {"classifier", "score"}},
                     {"bias", "none"},
                     {"fan_in_fan_out", false},
                     {"use_rslora", false},
                     {"use_dora", false},
                     {"rank_pattern", Json::object()},
                     {"alpha_pattern", Json::object()},
                     {"init_lora_weights", true},
                     {"inference_mode", true}};
  write_file_atomic(folder / kConfig, json.dump(2) + "\n");
}

void write_weights(const fs::path& folder, Session& session, int replica) {
  const Bert& model = session.model();
  const int64_t rank = session.replica(replica).lora.rank;
  const std::vector<float> values = session.get(replica, *model.adapters);
  TensorFile file;
  for (const AdapterPlace& place : adapter_places(model, static_cast<int>(rank))) {
    const auto a = values.begin() + place.a, b = values.begin() + place.b;
    std::vector<float> transposed(rank * place.N);
    for (int64_t n = 0; n < place.N; ++n)
      for (int64_t j = 0; j < rank; ++j) transposed[n * rank + j] = b[j * place.N + n];
    file.add(kPrefix + place.linear->name + ".lora_A.weight", {rank, place.K}, {a, a + rank * place.K});
    file.add(kPrefix + place.linear->name + ".lora_B.weight", {place.N, rank}, std::move(transposed));
  }
  for (const Parameter* p : {model.classifier.weight, model.classifier.bias})
    file.add(kPrefix + p->name, dims(p->shape), session.get(replica, *p));
  file.write(folder / kWeights);
}

}  // namespace

void write_adapter(const fs::path& folder, Session& session, int replica, const CheckpointInfo& info,
                   const std::string& base, const TrainingState* state) {
  check_checkpoint_target(folder);
  AtomicFolder target(folder);
  write_adapter(target, session, replica, info, base, state);
  target.commit();
}

void write_adapter(const AtomicFolder& target, Session& session, int replica, const CheckpointInfo& info,
                   const std::string& base, const TrainingState* state) {
  write_config(target.path(), session, replica, base);
  write_weights(target.path(), session, replica);
  write_info(target.path(), session, replica, info);
  if (state) write_training_state(target.path(), session.model(), *state);
}

Pruning of_activations(Pruning pruning) {
  pruning.weights = {};
  return pruning;
}

void merge_adapters(Session& session, int replica, Session& plain) {
  const Bert& model = session.model();
  const Lora& lora = session.replica(replica).lora;
  for (const Parameter& p : plain.model().parameters().all())
    plain.set(0, p, session.get(replica, *model.parameters().find(p.name)));
  const std::vector<float> values = session.get(replica, *model.adapters);
  for (const AdapterPlace& place : adapter_places(model, lora.rank)) {
    std::vector<float> w = session.get(replica, *place.linear->weight);
    for (int64_t n = 0; n < place.N; ++n)
      for (int64_t k = 0; k < place.K; ++k) {
        double sum = 0;
        for (int64_t j = 0; j < lora.rank; ++j)
          sum += double{values[place.b + j * place.N + n]} * values[place.a + j * place.K + k];
        float& element = w[n * place.K + k];
        element = static_cast<float>(element + lora.scale() * sum);
      }
    plain.set(0, *plain.model().parameters().find(place.linear->weight->name), w);
  }
}

}  // namespace mpq
