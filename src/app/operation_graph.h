// A drawing of a model's operations.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "nn/operations.h"

namespace mpq {

// In Graphviz's language: a node an operation, an arrow a tensor, a frame a layer.
std::string to_dot(const std::vector<Operation>& operations);

// Writes NAME.dot and lets `dot` draw NAME.svg. Where it is missing or fails it warns and returns false.
bool draw_operations(const std::vector<Operation>& operations, const std::filesystem::path& folder,
                     const std::string& name);

}  // namespace mpq
