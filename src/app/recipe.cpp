#include "app/recipe.h"

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/sha256.h"

namespace mpq {

std::string start_recipe(const Setup& setup, const TrainArgs& train) {
  if (!setup.init) return "model " + train.model;
  return "init " + sha256_hex(MappedFile(weights_file(setup.init->folder)).text());
}

void check_recipe(Storage& storage, const std::string& study, const std::string& recipe) {
  const StudyRecord record = storage.read_study(study);
  const auto known = record.user_attrs.find("mpq:recipe");
  const std::string json = nlohmann::json(recipe).dump();
  if (known == record.user_attrs.end())
    storage.set_study_attr(record.id, AttributeKind::user, "mpq:recipe", json);
  else if (known->second != json)
    throw UserError(fmt::format("the study {} was made with another recipe: {}", study, known->second),
                    fmt::format("this run's is {}; choose another --study or --out", json));
}

}  // namespace mpq
