#include "app/search_drawing.h"

#include <algorithm>
#include <cmath>

namespace mpq {
namespace {

SearchTexts texts_of(const SearchStyle& style) {
  SearchTexts texts{.split = style.selection == "valid" ? "validation" : "test", .control = style.control};
  if (style.architectures)
    texts.studies = "study", texts.size = "size of the model in MB, every operand in its number format";
  else if (style.whole_model)
    texts.size = "average bits per parameter of the whole model, shared exponents and scales counted";
  return texts;
}

SearchPoint point_of(const TrialPoint& trial, const SearchStyle& style) {
  const double bits = style.whole_model ? trial.size.bits_per_parameter : trial.size.bits_per_weight;
  return {trial.accuracy, style.architectures ? trial.size.megabytes() : bits, trial.test.value_or(std::nan(""))};
}

SearchPoint winner_of(const StudyResult& r, const SearchStyle& style) {
  return point_of(r.trials[static_cast<size_t>(r.winner)], style);
}

}  // namespace

std::vector<std::string> draw_search(const std::vector<StudyResult>& results, const SearchStyle& style,
                                     const std::filesystem::path& folder) {
  std::vector<SearchSeries> series, searched;  // with and without the control's
  std::vector<SeededWinner> winners;
  SearchPoint control{0, 32};
  SeededWinner seeded_control{};
  bool watched = false;
  for (const StudyResult& r : results) {
    SearchSeries one{r.study, {}};
    for (const TrialPoint& t : r.trials) one.trials.push_back(point_of(t, style));
    if (r.is_control && r.winner >= 0) control = winner_of(r, style);
    if (r.is_control) seeded_control = {r.study, control.size, r.confirmed};
    if (!r.is_control && !r.confirmed.empty()) winners.push_back({r.study, winner_of(r, style).size, r.confirmed});
    if (!r.is_control) searched.push_back(one), watched |= r.best_on_test >= 0;
    if (!r.is_control || !style.architectures) series.push_back(one);  // an architecture alone is no search
  }
  const SearchTexts texts = texts_of(style);
  std::vector<std::string> drawn;
  const auto draw = [&](const Figure& figure, const char* name) {
    if (write_figure(figure, folder, name)) drawn.emplace_back(name);
  };
  draw(best_so_far_figure(series, control, texts), "best_so_far");
  draw(pareto_figure(series, control, texts), "pareto");
  if (!winners.empty() && !seeded_control.accuracies.empty())
    draw(winners_figure(winners, seeded_control, texts), "seeds");
  if (watched && !std::isnan(control.test)) draw(selection_figure(searched, control.test, texts), "selection");
  return drawn;
}

}  // namespace mpq
