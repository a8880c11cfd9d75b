// mpq study list|show|best|export: what a storage holds, also one that Optuna wrote.
#include "search/study.h"

#include <fmt/format.h>

#include <cmath>
#include <set>

#include "app/commands.h"
#include "base/error.h"
#include "base/text.h"

namespace mpq {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kText =
    "mpq study list|show|best|export --storage sqlite:///PATH [--study NAME]\n\n"
    "Reads a storage of studies, written by mpq or by Optuna, also while a search writes it.\n"
    "  list    the studies, with their numbers of trials and best values\n"
    "  show    the trials of a study\n"
    "  best    its best trial: number, value, parameters\n"
    "  export  its trials as TSV on standard output\n\n"
    "Example: mpq study best --storage sqlite:///search.db --study integer";

// Doubles that JSON lacks become text.
Json number_json(double value) {
  if (std::isfinite(value)) return value;
  return fmt::format("{}", value);
}

Json attributes_json(const Attributes& attributes) {
  Json object = Json::object();
  for (const auto& [key, text] : attributes) {
    object[key] = Json::parse(text, nullptr, false);
    if (object[key].is_discarded()) object[key] = text;  // Python writes NaN, which is no JSON
  }
  return object;
}

Json params_json(const FrozenTrial& trial) {
  Json object = Json::object();
  for (const TrialParameter& p : trial.params) object[p.name] = Json::parse(to_json(p.external()));
  return object;
}

Json value_json(const FrozenTrial& trial) { return trial.values.empty() ? Json() : number_json(trial.values[0]); }

Json trial_json(const FrozenTrial& trial) {
  Json object = {{"number", trial.number},
                 {"state", to_text(trial.state)},
                 {"value", value_json(trial)},
                 {"params", params_json(trial)}};
  for (size_t i = 0; trial.values.size() > 1 && i < trial.values.size(); ++i)
    object["values"].push_back(number_json(trial.values[i]));
  for (const auto& [step, value] : trial.intermediate_values)
    object["intermediate_values"][std::to_string(step)] = number_json(value);
  object["user_attrs"] = attributes_json(trial.user_attrs);
  if (!trial.constraints.empty()) object["constraints"] = trial.constraints;
  object["datetime_start"] = trial.started;
  object["datetime_complete"] = trial.completed;
  return object;
}

std::string directions_text(const StudyRecord& study) {
  std::vector<std::string> names;
  for (const Direction d : study.directions) names.emplace_back(to_text(d));
  return join(names, ",");
}

const FrozenTrial* best_of(const StudyRecord& study, const std::vector<FrozenTrial>& trials) {
  return study.directions.size() == 1 ? best_trial(trials, study.directions[0]) : nullptr;
}

int64_t count(const std::vector<FrozenTrial>& trials, TrialState state) {
  return std::count_if(trials.begin(), trials.end(), [&](const FrozenTrial& t) { return t.state == state; });
}

Json study_json(const StudyRecord& study, const std::vector<FrozenTrial>& trials) {
  Json object = {{"study", study.name}, {"direction", directions_text(study)}, {"trials", trials.size()}};
  for (const TrialState state : {TrialState::complete, TrialState::pruned, TrialState::fail, TrialState::running})
    object[std::string(to_text(state))] = count(trials, state);
  const FrozenTrial* best = best_of(study, trials);
  object["best_number"] = best ? Json(best->number) : Json();
  object["best_value"] = best ? value_json(*best) : Json();
  object["user_attrs"] = attributes_json(study.user_attrs);
  return object;
}

void list_studies(Storage& storage, bool json) {
  const auto studies = storage.read_studies();
  if (!json)
    fmt::print("{:<24} {:<10} {:>7} {:>9} {:>7} {:>5} {:>8}  best\n", "study", "direction", "trials", "complete",
               "pruned", "fail", "running");
  for (const StudyRecord& study : studies) {
    const Json s = study_json(study, storage.read_trials(study.id, 0));
    if (json)
      print_json(s);
    else
      fmt::print("{:<24} {:<10} {:>7} {:>9} {:>7} {:>5} {:>8}  {}\n", study.name, directions_text(study),
                 s["trials"].dump(), s["COMPLETE"].dump(), s["PRUNED"].dump(), s["FAIL"].dump(), s["RUNNING"].dump(),
                 s["best_value"].is_null()
                     ? ""
                     : fmt::format("{} (trial {})", s["best_value"].dump(), s["best_number"].dump()));
  }
  if (json) print_json({{"studies", studies.size()}});
}

std::string params_text(const FrozenTrial& trial) {
  std::vector<std::string> parts;
  for (const TrialParameter& p : trial.params) parts.push_back(p.name + "=" + to_text(p.external()));
  return join(parts, "  ");
}

std::string value_text(const FrozenTrial& trial) {
  return trial.values.empty() ? "" : fmt::format("{}", fmt::join(trial.values, ","));
}

void show_study(const StudyRecord& study, const std::vector<FrozenTrial>& trials, bool json) {
  for (const FrozenTrial& trial : trials) {
    if (json)
      print_json(trial_json(trial));
    else
      fmt::print("{:>5} {:<8} {:<20} {}\n", trial.number, to_text(trial.state), value_text(trial), params_text(trial));
  }
  if (json) return print_json(study_json(study, trials));
  const FrozenTrial* best = best_of(study, trials);
  fmt::print("study {}: {} {} trials{}\n", study.name, directions_text(study), trials.size(),
             best ? fmt::format(", best {} (trial {})", value_text(*best), best->number) : "");
}

void show_best(const StudyRecord& study, const std::vector<FrozenTrial>& trials, bool json) {
  if (study.directions.size() != 1)
    throw UserError(fmt::format("study '{}' has {} objectives, so no best trial", study.name, study.directions.size()),
                    "mpq study show lists its trials");
  const FrozenTrial* best = best_of(study, trials);
  if (!best)
    throw UserError(fmt::format("study '{}' has no feasible COMPLETE trial yet", study.name),
                    "mpq study show lists its trials");
  if (json) return print_json(trial_json(*best));
  fmt::print("trial {}  value {}\n", best->number, value_text(*best));
  for (const TrialParameter& p : best->params) fmt::print("  {} = {}\n", p.name, to_text(p.external()));
}

// One cell: tabs and line ends would break the table, so such text stands as JSON.
std::string cell(const std::string& text) {
  return text.find_first_of("\t\r\n") == std::string::npos ? text : to_json(Choice(text));
}

void export_study(const std::vector<FrozenTrial>& trials) {
  std::vector<std::string> params;  // in order of first appearance
  std::set<std::string> known, attrs;
  for (const FrozenTrial& trial : trials) {
    for (const TrialParameter& p : trial.params)
      if (known.insert(p.name).second) params.push_back(p.name);
    for (const auto& [key, value] : trial.user_attrs) attrs.insert(key);
  }
  std::vector<std::string> row = {"number", "state", "value", "datetime_start", "datetime_complete"};
  for (const auto& name : params) row.push_back(cell("params_" + name));
  for (const auto& key : attrs) row.push_back(cell("user_attrs_" + key));
  fmt::print("{}\n", fmt::join(row, "\t"));
  for (const FrozenTrial& trial : trials) {
    row = {std::to_string(trial.number), std::string(to_text(trial.state)), value_text(trial), trial.started,
           trial.completed};
    for (const auto& name : params) {
      const TrialParameter* p = trial.find(name);
      row.push_back(p ? cell(to_text(p->external())) : "");
    }
    for (const auto& key : attrs) row.push_back(trial.user_attrs.contains(key) ? cell(trial.user_attrs.at(key)) : "");
    fmt::print("{}\n", fmt::join(row, "\t"));
  }
}

// The study named, or the only one there is.
StudyRecord find_study(Storage& storage, const std::string& name) {
  if (!name.empty()) return storage.read_study(name);
  const auto studies = storage.read_studies();
  if (studies.size() == 1) return studies.front();
  std::vector<std::string> names;
  for (const StudyRecord& study : studies) names.push_back(study.name);
  throw UserError(fmt::format("the storage has {} studies; --study NAME says which", studies.size()),
                  names.empty() ? "mpq search writes studies" : "its studies: " + join(names, ", "));
}

}  // namespace

int run_study(const Args& args) {
  std::string url, name;
  std::vector<std::string> action;
  CommandLine line("study", kText);
  line.option("storage", url, "URL", "sqlite:///PATH");
  line.option("study", name, "NAME", "the study; may be left out if the storage has only one");
  line.positional("action", action, 1);
  if (!line.parse(args)) return 0;
  line.require({"storage"});
  const std::string what = action.empty() ? "" : action[0];
  if (what != "list" && what != "show" && what != "best" && what != "export")
    throw UserError(fmt::format("mpq study '{}': no such action", what), "allowed: list, show, best, export");
  const auto storage = open_storage(url, OpenMode::existing);
  if (what == "list") return list_studies(*storage, line.json()), 0;
  const StudyRecord study = find_study(*storage, name);
  const auto trials = storage->read_trials(study.id, 0);
  if (what == "show") show_study(study, trials, line.json());
  if (what == "best") show_best(study, trials, line.json());
  if (what == "export") export_study(trials);
  return 0;
}

}  // namespace mpq
