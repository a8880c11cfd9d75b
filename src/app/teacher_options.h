// --teacher and what belongs to it.
#pragma once
#include <string>

#include "app/training.h"
#include "train/teacher.h"

namespace mpq {

struct TeacherArgs {
  void add_to(CommandLine& line);
  // The data's, and the unlabelled rows where a teacher speaks of them.
  DataOptions with_unlabelled(DataOptions options) const;
  // Gives the training rows the teacher's targets; nothing without --teacher.
  void apply(Setup& setup, Device& device) const;

 private:
  std::string teacher_;
  Teaching teaching_;
  bool labelled_only_ = false;
};

}  // namespace mpq
