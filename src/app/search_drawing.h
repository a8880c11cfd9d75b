// A search's results as its figures.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "app/search_report.h"

namespace mpq {

// best_so_far and pareto; seeds: the winners, where they were trained again with other seeds; selection, where the test
// split was watched. Returns the names of those that gnuplot drew.
std::vector<std::string> draw_search(const std::vector<StudyResult>& results, const SearchStyle& style,
                                     const std::filesystem::path& folder);

}  // namespace mpq
