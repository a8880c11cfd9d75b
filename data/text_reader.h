// Plain text without labels: .txt files, compressed or not.
#pragma once
#include <filesystem>
#include <vector>

#include "data/row.h"

namespace mpq {

// The path itself if it is a text file by its name, or the text files of a folder and of those in it, by name; else
// none.
std::vector<std::filesystem::path> text_files(const std::filesystem::path& path);

// Texts are separated by empty lines; in a file without one, every line is a text. Labels are empty. UserError, with
// file and line, for what is not UTF-8, and if there is no text.
std::vector<Row> read_texts(const std::vector<std::filesystem::path>& files);

}  // namespace mpq
