// The official release of the IMDb reviews (Maas et al., ACL 2011): a folder aclImdb or its archive, unopened.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "data/row.h"

namespace mpq {

// The reviews of `split` ("train" or "test") from a folder that holds train/ and test/, or from a tar of it; labels
// "neg" and "pos" ("unsup": the unlabelled ones of train); the group is the film (tt0064354, from urls_neg.txt and
// urls_pos.txt). Ordered by label, then by the number in the file's name. UserError for a damaged archive, a blank or
// broken review, a missing split.
std::vector<Row> read_aclimdb(const std::filesystem::path& path, const std::string& split,
                              const std::vector<std::string>& labels = {"neg", "pos"});

// The same reviews as LABEL<TAB>ID<TAB>TEXT (0 = neg, 1 = pos; -1 in a table of unlabelled ones), with the films in
// `movies` as ID<TAB>FILM.
std::vector<Row> read_imdb_table(const std::filesystem::path& table, const std::filesystem::path& movies,
                                 bool unlabelled = false);

}  // namespace mpq
