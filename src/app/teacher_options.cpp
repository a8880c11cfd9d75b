#include "app/teacher_options.h"

#include "base/error.h"
#include "train/ngram_classifier.h"

namespace mpq {
namespace fs = std::filesystem;
namespace {

SoftLabels ask(const std::string& teacher, const Dataset& data, Device& device) {
  if (fs::is_regular_file(teacher)) return read_soft_labels(teacher);
  if (is_ngram_classifier(teacher)) return read_soft_labels(soft_labels_of(teacher));
  return opinions_of(device, read_checkpoint(teacher), data);
}

}  // namespace

void TeacherArgs::add_to(CommandLine& line) {
  line.group("Teacher");
  line.option("teacher", teacher_, "DIR|FILE",
              "learn from its probabilities, on the training and the unlabelled rows: a folder of mpq baseline --out, "
              "its probabilities.tsv, or a checkpoint");
  line.option("teacher-share", teaching_.alpha, "A", "of a labelled row's target; the label has the rest",
              {.min = 0, .max = 1});
  line.option("teacher-temperature", teaching_.temperature, "T", "divides the teacher's logits", {.above = 0});
  line.flag("labelled-only", labelled_only_, "leave the unlabelled rows out");
}

DataOptions TeacherArgs::with_unlabelled(DataOptions options) const {
  options.unlabelled = !teacher_.empty() && !labelled_only_;
  return options;
}

void TeacherArgs::apply(Setup& setup, Device& device) const {
  if (!teacher_.empty()) teach(setup.data, ask(teacher_, setup.data, device), teaching_, teacher_);
}

}  // namespace mpq
