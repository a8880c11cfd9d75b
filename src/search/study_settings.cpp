#include "search/study_settings.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"

namespace mpq {
namespace {

using nlohmann::json;

constexpr const char* kHint = "a study keeps its settings: use the same ones, or another --study or --storage";

json space_json(const SearchSpace& space) {
  json list = json::array();
  for (const auto& [name, distribution] : space) list.push_back({name, json::parse(to_json(distribution))});
  return list;
}

json stored_settings(const StudyRecord& stored) {
  const auto at = stored.system_attrs.find(kSettingsAttr);
  const json settings = at == stored.system_attrs.end() ? json() : json::parse(at->second, nullptr, false);
  if (!settings.is_object())
    throw UserError(fmt::format("study '{}' has damaged settings", stored.name), "use another --study or --storage");
  return settings;
}

void check_space(const std::string& study, const json& stored, const json& asked) {
  const auto names = [](const json& space) {
    std::string text;
    for (const json& entry : space) text += (text.empty() ? "" : ", ") + entry.at(0).dump();
    return text;
  };
  for (size_t i = 0; i < std::min(stored.size(), asked.size()); ++i)
    if (stored[i].at(0) == asked[i].at(0) && stored[i].at(1) != asked[i].at(1))
      throw UserError(fmt::format("study '{}', parameter {}: the study has {}, asked for {}", study,
                                  asked[i].at(0).dump(), stored[i].at(1).dump(), asked[i].at(1).dump()),
                      kHint);
  if (stored != asked)
    throw UserError(fmt::format("study '{}' has the parameters {}; asked for {}", study, names(stored), names(asked)),
                    kHint);
}

}  // namespace

std::string settings_json(const StudyOptions& options) {
  const auto points = count_points(options.space, options.further);
  const json settings = {{"sampler", options.sampler.name},
                         {"seed", options.sampler.seed},
                         {"multivariate", options.sampler.multivariate},
                         {"parallel", options.parallel},
                         {"space", space_json(options.space)},
                         {"whole", !options.space.empty() && points && *points < options.trials}};
  return settings.dump(-1, ' ', true);
}

void check_same_study(const StudyRecord& stored, const StudyOptions& asked) {
  if (stored.directions.size() != 1)
    throw UserError(fmt::format("study '{}' has {} objectives", stored.name, stored.directions.size()),
                    "mpq searches studies of one objective");
  if (stored.directions.front() != asked.direction)
    throw UserError(fmt::format("study '{}': its direction is {}, asked for {}", stored.name,
                                to_text(stored.directions.front()), to_text(asked.direction)),
                    kHint);
  try {
    const json was = stored_settings(stored), now = json::parse(settings_json(asked));
    for (const char* key : {"sampler", "seed", "multivariate", "parallel"})
      if (was.at(key) != now.at(key))
        throw UserError(fmt::format("study '{}': its {} is {}, asked for {}", stored.name, key, was.at(key).dump(),
                                    now.at(key).dump()),
                        kHint);
    check_space(stored.name, was.at("space"), now.at("space"));
  } catch (const json::exception&) {
    throw UserError(fmt::format("study '{}' has damaged settings", stored.name), "use another --study or --storage");
  }
}

bool searches_whole_space(const StudyRecord& stored) { return stored_settings(stored).value("whole", false); }

void refuse_distribution(const std::string& study, const std::string& parameter, const Distribution& stored,
                         const Distribution& asked) {
  throw UserError(fmt::format("study '{}', parameter '{}': the study has {}, asked for {}", study, parameter,
                              to_json(stored), to_json(asked)),
                  kHint);
}

}  // namespace mpq
