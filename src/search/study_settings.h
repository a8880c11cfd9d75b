// What makes a study itself: stored with it, so that another process or a later day cannot go on with other settings.
#pragma once
#include "search/study.h"

namespace mpq {

// The study's system attribute that holds them.
constexpr const char* kSettingsAttr = "mpq:study";

// Sampler, seed, wave and space as JSON, and whether the space is searched whole.
std::string settings_json(const StudyOptions& options);

// UserError that says what differs between the stored study and the one asked for.
void check_same_study(const StudyRecord& stored, const StudyOptions& asked);

// The stored study was found to have fewer points than planned trials.
bool searches_whole_space(const StudyRecord& stored);

// UserError with both distributions.
[[noreturn]] void refuse_distribution(const std::string& study, const std::string& parameter,
                                      const Distribution& stored, const Distribution& asked);

}  // namespace mpq
