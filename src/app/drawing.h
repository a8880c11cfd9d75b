// Programs that draw, as they stand in a folder of the PATH.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace mpq {

// Runs a program (`command[0]`) in a folder; its complaint, or "" if all went well. Where it is missing, the complaint
// names the package that has it. Leaves a file `errors` in the folder.
std::string run_in(const std::filesystem::path& folder, std::vector<std::string> command, const std::string& package);

}  // namespace mpq
