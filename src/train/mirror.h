// A model with its units in reverse order (hidden channels, and heads with them; feed-forward units): the same function
// with every sum over them in the opposite order. What rounding does to a run shows between the two.
#pragma once
#include "train/session.h"

namespace mpq {

// Without dropout, which goes by a unit's place.
void mirror(Session& session, int replica);

}  // namespace mpq
