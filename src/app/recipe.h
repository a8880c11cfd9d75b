// What decides the result of a study's trials beside their parameters: a stored study goes on only with the same.
#pragma once
#include <string>

#include "app/training.h"
#include "search/storage.h"

namespace mpq {

// "init SHA256" of the weights that training starts from, or "model NAME".
std::string start_recipe(const Setup& setup, const TrainArgs& train);

// Stores the recipe with a new study. UserError if the study was made with another one.
void check_recipe(Storage& storage, const std::string& study, const std::string& recipe);

}  // namespace mpq
