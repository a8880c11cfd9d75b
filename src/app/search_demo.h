// The built-in corpus brings its own recipe: a base model trained in float, then short trials from it.
#pragma once
#include "app/command_line.h"
#include "app/search_options.h"
#include "tensor/device.h"

namespace mpq {

// Whether the search is one for formats on the built-in corpus that starts from no checkpoint.
bool is_demo(const SearchOptions& options);

// Fills in what the command line left open, trains the base model into --out/base unless it is there, and points --init
// to it. Throws Stopped.
void prepare_demo(SearchOptions& options, const CommandLine& line, Device& device);

}  // namespace mpq
