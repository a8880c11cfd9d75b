// Which process runs a trial, and whether it is still there: after a kill, its trials are run again.
#pragma once
#include <string>

namespace mpq {

// The trial's system attribute that names its owner.
constexpr const char* kOwnerAttr = "mpq:owner";

// A JSON string: host, process id and the process's start time (ids are used again).
std::string this_process();

// True if that process certainly runs no more: it was on this host and is gone. For a process of another host its
// heartbeat decides: silent for five minutes.
bool is_dead(const std::string& owner, double heartbeat_age_s);

}  // namespace mpq
