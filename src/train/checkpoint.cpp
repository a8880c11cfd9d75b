#include "train/checkpoint.h"

#include <sys/stat.h>

#include <algorithm>

#include "base/json_file.h"
#include "base/log.h"
#include "base/text.h"
#include "base/torch_file.h"
#include "nn/model_formats.h"
#include "train/bert_config_file.h"
#include "train/hugging_face_names.h"
#include "train/initialise.h"
#include "train/pruning_file.h"
#include "train/tensor_values.h"

namespace mpq {
namespace fs = std::filesystem;
namespace {
using Json = nlohmann::ordered_json;

constexpr const char* kConfig = "config.json";
constexpr const char* kWeights = "model.safetensors";
constexpr const char* kAdapterWeights = "adapter_model.safetensors";  // train/adapter_folder.h
constexpr const char* kPickled = "pytorch_model.bin";                 // what old models ship instead
constexpr const char* kInfo = "mpq.json";
constexpr const char* kTrained = "mpq.safetensors";  // apart, so that transformers sees no unknown tensor
constexpr const char* kState = "training_state.json";
constexpr const char* kMoments = "training_state.safetensors";

bool is_head(const std::string& name) {
  return name.starts_with("bert.pooler.") || name.starts_with("classifier.") || name.starts_with("cls.");
}

void add_values(Checkpoint& c, const Bert& model, const NamedTensors& file, const fs::path& path) {
  for (const NamedTensors::Entry& entry : file.entries()) {
    const std::string name = canonical_name(entry.name);
    const Parameter* p = model.parameters().find(name);
    if (!p && (is_ignorable(name) || (is_head(name) && model.head() == Head::masked_lm))) continue;
    if (!p && name.starts_with("bert.encoder.layer."))
      throw UserError(fmt::format("{}: tensor {} has no place in the model", path.string(), entry.name),
                      fmt::format("{} implies {} layers", kConfig, c.config.layers));
    if (!p) {
      log().warn("{}: tensor {} is not used", path.string(), entry.name);
      continue;
    }
    if (!c.values.emplace(name, read_values(file, entry, dims(p->shape), path, kConfig)).second)
      throw UserError(fmt::format("{}: tensor {} occurs under two names", path.string(), name));
  }
}

void check_encoder(const Checkpoint& c, const Bert& model) {
  for (const Parameter& p : model.parameters().all())
    if (!is_extra(p) && !is_head(p.name) && !c.values.contains(p.name))
      throw UserError(fmt::format("{}: tensor {} is missing", weights_file(c.folder).string(), p.name),
                      fmt::format("{} expected", to_text(dims(p.shape))));
}

}  // namespace

void read_info(Checkpoint& c, const fs::path& folder) {
  if (!fs::exists(folder / kInfo)) return;
  const JsonFile file(folder / kInfo);
  const Bert model(c.config);
  c.max_tokens = static_cast<int>(file.integer("max_tokens", c.max_tokens, 3, c.config.positions));
  const std::string truncate = file.text("truncate", "head");
  if (truncate != "head" && truncate != "head+tail") file.fail("truncate", truncate, "head, head+tail");
  c.truncate = truncate == "head" ? Truncate::Head : Truncate::HeadTail;
  const Json formats = file.object("formats");
  const std::vector<std::string> names = format_names(model);
  for (const auto& [name, spec] : formats.items()) {
    const auto row = std::find(names.begin(), names.end(), name) - names.begin();
    if (row == std::ssize(names)) file.fail("formats", name, "the names of the model's Linears and embedding tables");
    if (!spec.is_string()) file.fail("formats." + name, spec.dump(), "a format's text");
    if (row >= std::ssize(c.formats)) c.formats.resize(names.size());
    c.formats[row] = parse_row_format(model, static_cast<int>(row), spec.get<std::string>());
  }
  c.pruning = read_pruning(file, model);
}

namespace {

std::unique_ptr<NamedTensors> open_weights(const fs::path& path) {
  if (path.filename() == kPickled) return std::make_unique<TorchFile>(path);
  return std::make_unique<SafeTensors>(path);
}

Checkpoint read_once(const fs::path& folder, Head head) {
  if (!fs::is_directory(folder)) throw UserError(fmt::format("no checkpoint {}: no such folder", folder.string()));
  const fs::path weights = weights_file(folder);
  const BertConfigFile config = read_bert_config(folder / kConfig);
  const Bert model(config.config, head);
  Checkpoint c{.folder = folder, .config = config.config, .labels = config.labels};
  c.formats.resize(model.linears().size());
  c.max_tokens = std::min(c.max_tokens, c.config.positions);
  add_values(c, model, *open_weights(weights), weights);
  check_encoder(c, model);
  read_info(c, folder);
  if (c.pruning.weights) c.masks = read_masks(folder, model, c.pruning);
  if (fs::exists(folder / kTrained)) add_values(c, model, SafeTensors(folder / kTrained), folder / kTrained);
  return c;
}

// Which folder the name stands for now: write_checkpoint exchanges folders.
ino_t identity(const fs::path& folder) {
  struct stat info = {};
  return ::stat(folder.c_str(), &info) == 0 ? info.st_ino : 0;
}

// Calls read() until the folder was the same one before and after: no mix of an old and a new checkpoint.
template <class Read>
auto read_whole(const fs::path& folder, const Read& read) {
  for (int attempt = 0;; ++attempt) {
    const ino_t before = identity(folder);
    try {
      auto result = read();
      if (identity(folder) == before) return result;
    } catch (const UserError&) {
      if (identity(folder) == before || attempt == 9) throw;
    }
  }
}

}  // namespace

fs::path weights_file(const fs::path& folder) {
  for (const char* name : {kWeights, kPickled})
    if (fs::exists(folder / name)) return folder / name;
  for (const char* name : {kWeights, kPickled})
    if (fs::exists(folder / (std::string(name) + ".index.json")))
      throw UserError(fmt::format("{} holds weights in several files", folder.string()),
                      "save_pretrained(..., max_shard_size=\"100GB\") writes one file");
  throw UserError(fmt::format("{} holds no {}", folder.string(), kWeights),
                  "a checkpoint is a folder with config.json and model.safetensors (or pytorch_model.bin)");
}

Checkpoint read_checkpoint(const fs::path& folder, Head head) {
  return read_whole(folder, [&] { return read_once(folder, head); });
}

void require_head(const Checkpoint& c) {
  const Bert model(c.config);
  for (const Parameter& p : model.parameters().all())
    if (is_head(p.name) && !is_extra(p) && !c.values.contains(p.name))
      throw UserError(fmt::format("{}: tensor {} is missing", weights_file(c.folder).string(), p.name),
                      "this model has no classifier yet; mpq train --init trains one");
}

void check_vocabulary(const Checkpoint& c, const Tokenizer& tokenizer) {
  if (tokenizer.vocab_size() > c.config.vocabulary)
    throw UserError(fmt::format("{}: the tokenizer has {} tokens, the model {}", c.folder.string(),
                                tokenizer.vocab_size(), c.config.vocabulary),
                    "a model needs the tokenizer that it was trained with");
}

void replace_labels(Checkpoint& c, const std::vector<std::string>& labels) {
  if (c.labels == labels) return;
  if (c.values.contains("classifier.weight"))
    log().warn("{}: its labels are {}, the data's are {}: the classifier starts afresh", c.folder.string(),
               join(c.labels, ", "), join(labels, ", "));
  c.labels = labels;
  c.config.classes = static_cast<int>(labels.size());
  std::erase_if(c.values, [](const auto& value) { return value.first.starts_with("classifier."); });
}

void load_into(Session& session, int replica, const Checkpoint& c) {
  const Bert& model = session.model();
  std::vector<std::string> fresh;
  for (const Parameter& p : model.parameters().all()) {
    if (is_extra(p)) continue;
    const auto found = c.values.find(p.name);
    if (found == c.values.end()) fresh.push_back(p.name);
    session.set(replica, p,
                found != c.values.end()
                    ? found->second
                    : initial_values(p, session.replica(replica).seed, model.config().initializer_range));
  }
  for (const Linear* linear : model.linears()) {
    const auto found = c.values.find(linear->trained->name);
    const bool same_format = c.formats[linear->index].x == session.replica(replica).formats[linear->index].x;
    if (found != c.values.end() && same_format) session.set(replica, *linear->trained, found->second);
  }
  if (session.replica(replica).pruning.weights) session.set_masks(replica, c.masks);
  if (!fresh.empty()) log().warn("{}: freshly initialised: {}", c.folder.string(), join(fresh, ", "));
}

namespace {

void write_weights(const fs::path& folder, Session& session, int replica) {
  TensorFile weights, trained;
  for (const Parameter& p : session.model().parameters().all())
    if (!is_extra(p)) weights.add(p.name, dims(p.shape), session.get(replica, p));
  for (const Linear* linear : session.model().linears())
    if (trained_count(session.replica(replica).formats[linear->index].x) > 0)
      trained.add(linear->trained->name, dims(linear->trained->shape), session.get(replica, *linear->trained));
  weights.write(folder / kWeights);
  if (!trained.empty()) trained.write(folder / kTrained);
}

}  // namespace

void write_info(const fs::path& folder, const Session& session, int replica, const CheckpointInfo& info) {
  Json formats = Json::object();
  const Bert& model = session.model();
  const std::vector<std::string> names = format_names(model);
  const std::vector<LinearSpec>& specs = session.replica(replica).formats;
  for (size_t row = 0; row < specs.size(); ++row)
    if (specs[row] != LinearSpec{}) formats[names[row]] = row_format_text(model, static_cast<int>(row), specs[row]);
  Json json = {{"mpq", MPQ_VERSION},
               {"max_tokens", info.max_tokens},
               {"truncate", info.truncate == Truncate::Head ? "head" : "head+tail"},
               {"labels", info.labels},
               {"formats", formats}};
  Pruning pruning = session.replica(replica).pruning;
  if (session.masks(replica).empty()) pruning.weights = {};
  if (pruning) json["pruning"] = to_json(pruning, model);
  write_file_atomic(folder / kInfo, json.dump(2) + "\n");
}

// The moments lie flat in memory, in ParameterSet's order; on disk each has its parameter's name.
void write_training_state(const fs::path& folder, const Bert& model, const TrainingState& state) {
  TensorFile file;
  const auto add = [&](const char* prefix, const std::vector<float>& flat) {
    for (const Parameter& p : model.parameters().all())
      if (!p.frozen)
        file.add(prefix + p.name, dims(p.shape), {flat.begin() + p.offset, flat.begin() + p.offset + p.shape.size()});
  };
  add("m.", state.optimizer.m);
  add("v.", state.optimizer.v);
  file.add("loss", {static_cast<int64_t>(state.loss.size())}, state.loss);
  file.add("norm", {static_cast<int64_t>(state.norm.size())}, state.norm);
  file.write(folder / kMoments);
  const Json json = {{"step", state.optimizer.step}, {"seconds", state.seconds}, {"options", state.options}};
  write_file_atomic(folder / kState, json.dump(2) + "\n");
}

void check_checkpoint_target(const fs::path& folder) {
  if (!fs::exists(folder)) return;
  const bool replaceable = fs::is_directory(folder) && (fs::is_empty(folder) || fs::exists(folder / kWeights) ||
                                                        fs::exists(folder / kAdapterWeights));
  if (!replaceable)
    throw UserError(fmt::format("{} exists and is no checkpoint", folder.string()),
                    "name a new folder, or a checkpoint to replace");
}

void write_checkpoint(const fs::path& folder, Session& session, int replica, const Tokenizer& tokenizer,
                      const CheckpointInfo& info, const TrainingState* state) {
  check_checkpoint_target(folder);
  AtomicFolder target(folder);
  write_checkpoint(target, session, replica, tokenizer, info, state);
  target.commit();
}

void write_checkpoint(const AtomicFolder& target, Session& session, int replica, const Tokenizer& tokenizer,
                      const CheckpointInfo& info, const TrainingState* state) {
  write_bert_config(target.path() / kConfig, {session.model().config(), info.labels, tokenizer.special().pad},
                    session.model().head());
  write_weights(target.path(), session, replica);
  write_info(target.path(), session, replica, info);
  write_masks(target.path(), session.model(), session.masks(replica));
  tokenizer.save(target.path(), info.max_tokens);
  if (state) write_training_state(target.path(), session.model(), *state);
}

namespace {

std::vector<float> read_moments(const NamedTensors& file, const std::string& prefix, const Bert& model,
                                const fs::path& path) {
  std::vector<float> flat(model.parameters().size(), 0.0f);
  for (const Parameter& p : model.parameters().all()) {
    if (p.frozen) continue;
    const std::vector<float> values = read_values(file, file.at(prefix + p.name), dims(p.shape), path, kConfig);
    std::copy(values.begin(), values.end(), flat.begin() + p.offset);
  }
  return flat;
}

TrainingState read_state(const fs::path& folder, const Bert& model, const std::string& options) {
  const JsonFile json(folder / kState);
  TrainingState state;
  state.options = json.text("options", "");
  if (state.options != options)
    throw UserError(fmt::format("{} is of a run with other options: {}", folder.string(), state.options),
                    fmt::format("this run's are: {}", options));
  state.optimizer.step = json.integer("step", 0, 0, INT32_MAX);
  state.seconds = json.real("seconds", 0, 0, 1e12);
  const fs::path path = folder / kMoments;
  const SafeTensors file(path);
  state.optimizer.m = read_moments(file, "m.", model, path);
  state.optimizer.v = read_moments(file, "v.", model, path);
  state.loss = file.read_f32("loss");
  state.norm = file.read_f32("norm");
  const auto steps = static_cast<size_t>(state.optimizer.step);
  if (state.loss.size() != steps || state.norm.size() != steps)
    throw UserError(fmt::format("{}: {} losses and {} norms", path.string(), state.loss.size(), state.norm.size()),
                    fmt::format("{} says step {}", kState, steps));
  return state;
}

}  // namespace

std::optional<TrainingState> read_training_state(const fs::path& folder, const Bert& model,
                                                 const std::string& options) {
  return read_whole(folder, [&]() -> std::optional<TrainingState> {
    if (!fs::exists(folder / kState)) return std::nullopt;
    return read_state(folder, model, options);
  });
}

}  // namespace mpq
