// What the globals, persistent ids and calls in a pickle of plain tensors mean. (torch/_utils.py,
// torch/serialization.py.)
#pragma once
#include <string_view>

#include "base/pickle.h"

namespace mpq {

// UserError naming the global unless it is one of the few that plain tensors need.
Pickle::Object find_global(std::string_view module, std::string_view name);

// ("storage", type, key, device, number of values); the legacy format adds None, or what part of another storage it is.
// UserError if the object is anything else.
Pickle::Storage make_storage(const Pickle& pickle, Pickle::Id persistent_id);

// A new dict, tensor or parameter: nothing else can be called. UserError if the arguments are not its.
Pickle::Object call_function(const Pickle& pickle, Pickle::Function function, const Pickle::Ids& arguments);

}  // namespace mpq
