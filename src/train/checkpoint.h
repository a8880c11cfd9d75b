// A checkpoint is a Hugging Face folder: config.json, model.safetensors and the tokenizer's files, which transformers
// loads; beside them mpq's own: mpq.json (number formats, pruning, how texts are cut), mpq.safetensors (what formats
// train), masks.safetensors (of pruned weights) and, while a run can be resumed, its training state. Folders are
// replaced as a whole.
#pragma once
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "data/dataset.h"
#include "train/session.h"

namespace mpq {

struct Checkpoint {
  std::filesystem::path folder;  // where it was read
  BertConfig config;
  std::vector<std::string> labels;                   // [config.classes]
  std::map<std::string, std::vector<float>> values;  // by parameter name; without those the file lacks
  std::vector<LinearSpec> formats;                   // nn/model_formats.h; `none` in a folder that names no format
  Pruning pruning;                                   // what the model goes on pruning, and the masks of its weights
  WeightMasks masks;
  int max_tokens = 512;  // how texts were cut in training
  Truncate truncate = Truncate::Head;
};

// Reads what write_checkpoint or save_pretrained wrote. UserError naming file, tensor, what was found and what was
// expected: for a damaged file, another architecture, another shape, values that are not finite, a lacking parameter of
// the encoder. The head may be lacking: see require_head and load_into. Of a folder with another head than `head` (a
// masked language model where a classifier is wanted) the encoder is read.
Checkpoint read_checkpoint(const std::filesystem::path& folder, Head head = Head::classifier);

// model.safetensors, or pytorch_model.bin where an old model ships only that. UserError if the folder has neither.
std::filesystem::path weights_file(const std::filesystem::path& folder);

// UserError if pooler or classifier are lacking: the model can be trained, but says nothing yet.
void require_head(const Checkpoint& checkpoint);
// UserError if the tokenizer makes ids that the model has no row for.
void check_vocabulary(const Checkpoint& checkpoint, const Tokenizer& tokenizer);
// For training on other labels: where they differ from the checkpoint's, the classifier starts afresh.
void replace_labels(Checkpoint& checkpoint, const std::vector<std::string>& labels);

// Sets a replica's parameters; what the checkpoint lacks is initialised by the replica's seed, and a log line says so.
// Means and gammas are taken only where the replica's format is the one that trained them; masks where the replica
// prunes weights.
void load_into(Session& session, int replica, const Checkpoint& checkpoint);

// What --resume needs to continue bit for bit, besides the weights.
struct TrainingState {
  OptimizerState optimizer;
  std::string options;            // of the run, canonical: another run cannot continue from here
  std::vector<float> loss, norm;  // of every step so far
  double seconds = 0;             // spent so far
};

// What a folder says beside the numbers.
struct CheckpointInfo {
  std::vector<std::string> labels;
  int max_tokens = 512;
  Truncate truncate = Truncate::Head;
};

// UserError if `folder` is something that a checkpoint must not replace: a file, or a folder that holds anything else.
// For before a long run; write_checkpoint checks it too.
void check_checkpoint_target(const std::filesystem::path& folder);

// Replaces `folder` whole; a reader or a crash finds the old one or the new one. Or into a folder that the caller
// commits.
void write_checkpoint(const std::filesystem::path& folder, Session& session, int replica, const Tokenizer& tokenizer,
                      const CheckpointInfo& info, const TrainingState* state = nullptr);
void write_checkpoint(const AtomicFolder& target, Session& session, int replica, const Tokenizer& tokenizer,
                      const CheckpointInfo& info, const TrainingState* state = nullptr);

// The files that other kinds of folders share. What mpq.json says of formats and of how texts are cut, if there is one,
// takes the place of what the checkpoint says (UserError); frozen parameters have no moments to keep.
void read_info(Checkpoint& checkpoint, const std::filesystem::path& folder);
void write_info(const std::filesystem::path& folder, const Session& session, int replica, const CheckpointInfo& info);
void write_training_state(const std::filesystem::path& folder, const Bert& model, const TrainingState& state);

// Nothing where the folder holds no training state (a finished run, or Hugging Face's). UserError if it is damaged,
// belongs to another model, or to a run with other options than `options`.
std::optional<TrainingState> read_training_state(const std::filesystem::path& folder, const Bert& model,
                                                 const std::string& options);

}  // namespace mpq
