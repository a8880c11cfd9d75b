// A BERT classifier of Hugging Face: token ids, logits, gradients and a training run. The distance between its float32
// and its float64 numbers is what float32 leaves open: mpq lies within twice the largest one of each tensor or run.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/error.h"
#include "base/safetensors.h"
#include "base/text.h"
#include "reference/reference.h"
#include "train/checkpoint.h"

namespace mpq::reference {
namespace {

std::vector<double> read_f64(const SafeTensors& file, const std::string& name) {
  const SafeTensors::Entry& entry = file.at(name);
  if (entry.dtype != "F64") {
    const std::vector<float> values = file.read_f32(name);
    return {values.begin(), values.end()};
  }
  std::vector<double> values(entry.count);
  std::memcpy(values.data(), entry.data.data(), entry.data.size());
  return values;
}

double float_ulp(double x) {
  const float magnitude = std::abs(static_cast<float>(x));
  return std::nextafter(magnitude, std::numeric_limits<float>::infinity()) - magnitude;
}

// The recipe of expected.json's "train", as its README words it.
constexpr int train_steps = 40, train_batch = 4, warmup_steps = 2;
constexpr double learning_rate = 1e-3, weight_decay = 0.01;

class HfBertCheck {
 public:
  HfBertCheck(const std::filesystem::path& folder, Device& device, Result& result)
      : result_(result),
        expected_(folder / "expected.safetensors"),
        checkpoint_(read_checkpoint(folder)),
        tokenizer_(open_tokenizer(folder)),
        model_(checkpoint_.config),
        device_(device) {
    require_head(checkpoint_);
    read_texts(folder / "texts.tsv");
  }

  void run() {
    check_ids();
    check_gradients();
    check_training();
  }

 private:
  void read_texts(const std::filesystem::path& path) {
    const std::string content = read_file(path);
    for (const std::string_view line : split(trim(content), '\n')) {
      const size_t tab = line.find('\t');
      const auto label = parse_int(line.substr(0, tab));
      if (tab == std::string_view::npos || !label)
        throw UserError(fmt::format("{}: a line without label TAB text", path.string()));
      std::vector<int32_t> ids;
      tokenizer_->append_ids(line.substr(tab + 1), ids);
      append_row(ids, tokenizer_->special(), model_.config().positions, Truncate::Head, texts_.tokens);
      texts_.row_starts.push_back(static_cast<int64_t>(texts_.tokens.size()));
      texts_.labels.push_back(static_cast<int32_t>(*label));
    }
  }

  void check_ids() {
    ++result_.cases;
    const auto same = [](const auto& a, const std::vector<int64_t>& b) {
      return std::equal(a.begin(), a.end(), b.begin(), b.end());
    };
    if (!same(texts_.tokens, expected_.read_i64("input_ids")) ||
        !same(texts_.row_starts, expected_.read_i64("row_starts")) ||
        !same(texts_.labels, expected_.read_i64("labels")))
      result_.mismatch("token ids or labels differ");
  }

  Session session(int batch, const Schedule& schedule) {
    const Replica replica{.schedule = schedule, .formats = checkpoint_.formats};
    return Session(
        device_, model_, {replica},
        {.batch_rows = batch, .eval_rows = rows(), .max_tokens = model_.config().positions, .decay_all = true});
  }
  int rows() const { return static_cast<int>(texts_.row_count()); }
  Batch batch_of(int64_t first, int64_t count) const {
    std::vector<int64_t> numbers;
    for (int64_t k = 0; k < count; ++k) numbers.push_back((first + k) % rows());
    return make_batch(texts_, numbers);
  }

  void check_gradients() {
    Session s = session(rows(), {.steps = 1});
    load_into(s, 0, checkpoint_);
    const Batch all = batch_of(0, rows());
    compare("logits", s.logits(all)[0], "logits.f64", "logits.f32");
    compare("loss", s.compute_gradients(all).loss, "loss.f64", "loss.f32");
    for (const Parameter& p : model_.parameters().all())
      if (expected_.contains("grad." + p.name))
        compare("gradient of " + p.name, s.gradient(0, p), "grad." + p.name, "grad32." + p.name,
                largest_beside(p.name));
  }

  void check_training() {
    Session s = session(train_batch, {learning_rate, weight_decay, warmup_steps, train_steps});
    load_into(s, 0, checkpoint_);
    std::vector<float> loss, norm;
    for (int step = 0; step < train_steps; ++step) {
      const Session::StepResult result = s.train_step(batch_of(step * train_batch, train_batch));
      loss.push_back(result.loss[0]);
      norm.push_back(result.norm[0]);
    }
    compare("losses of the run", loss, "train.loss.f64", "train.loss.f32");
    compare("gradient norms of the run", norm, "train.grad_norm.f64", "train.grad_norm.f32");
    compare("logits after the run", s.logits(batch_of(0, rows()))[0], "train.logits.f64", "train.logits.f32");
  }

  // A weight's gradient and its bias's share one scale: a key's bias has sums of such terms that are zero. The
  // classifier's bias sums what is left of probabilities, which have opposite signs.
  double largest_beside(const std::string& name) const {
    double largest = name == "classifier.bias" ? mean_distance_to_labels() : 0;
    for (const char* part : {".weight", ".bias"})
      if (const std::string key = "grad." + name.substr(0, name.rfind('.')) + part; expected_.contains(key))
        for (double g : read_f64(expected_, key)) largest = std::max(largest, std::abs(g));
    return largest;
  }
  // 1 minus the probability of the label.
  double mean_distance_to_labels() const {
    const std::vector<double> logits = read_f64(expected_, "logits.f64");
    const size_t classes = logits.size() / rows();
    double sum = 0;
    for (int row = 0; row < rows(); ++row) {
      const double* at = &logits[row * classes];
      double others = 0, all = 0;
      for (size_t c = 0; c < classes; ++c) {
        const double e = std::exp(at[c] - at[texts_.labels[row]]);
        all += e;
        if (c != static_cast<size_t>(texts_.labels[row])) others += e;
      }
      sum += others / all;
    }
    return sum / rows();
  }

  // Distances up to twice the largest of float32's, or 4 ulp: of the value, or of the `scale` it comes from.
  void compare(const std::string& what, const std::vector<float>& mpq, const std::string& f64, const std::string& f32,
               double scale = 0) {
    ++result_.cases;
    const std::vector<double> exact = read_f64(expected_, f64), single = read_f64(expected_, f32);
    if (mpq.size() != exact.size() || mpq.size() != single.size())
      return result_.mismatch(fmt::format("{}: {} values, expected {}", what, mpq.size(), exact.size()));
    double allowed = 4 * 0x1p-23 * scale, worst = 0;
    for (size_t i = 0; i < exact.size(); ++i) allowed = std::max(allowed, 2 * std::abs(single[i] - exact[i]));
    size_t outside = 0;
    for (size_t i = 0; i < exact.size(); ++i) {
      const double distance = std::abs(mpq[i] - exact[i]);
      worst = std::max(worst, distance);
      outside += !(distance <= std::max(allowed, 4 * float_ulp(exact[i])));
    }
    if (outside > 0)
      result_.mismatch(fmt::format("{}: {} of {} values too far; largest distance {:.3g}, allowed {:.3g}", what,
                                   outside, exact.size(), worst, allowed));
  }

  Result& result_;
  SafeTensors expected_;
  Checkpoint checkpoint_;
  std::shared_ptr<Tokenizer> tokenizer_;
  Bert model_;
  Device& device_;
  Split texts_;
};

}  // namespace

Result check_hf_bert(const Setting& setting) {
  Result result{.group = "hf_bert"};
  const auto model = setting.folder / "golden/hf_bert";
  if (!std::filesystem::exists(model / "expected.safetensors")) return result;
  result.found = true;
  try {
    HfBertCheck(model, setting.device, result).run();
  } catch (const UserError& error) {
    result.mismatch(error.what());
  }
  return result;
}

}  // namespace mpq::reference
