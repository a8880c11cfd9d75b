// The two errors that end a command. Expected failures (a diverged trial) are values, never exceptions.
#pragma once
#ifdef __CUDACC__
#define FMT_CONSTEVAL        // nvcc's front end cannot check texts of fmt while compiling
#define FMT_USE_CONSTEXPR 1  // fmt 9 holds that nvcc lacks it
#endif
#include <fmt/format.h>

#include <stdexcept>
#include <string>

namespace mpq {

// The user can mend it: what is wrong and where, then what is allowed. main prints both lines and exits with 2.
class UserError : public std::runtime_error {
 public:
  explicit UserError(const std::string& what, std::string hint = {})
      : std::runtime_error(what), hint_(std::move(hint)) {}
  const std::string& hint() const { return hint_; }

 private:
  std::string hint_;
};

// Only a programmer can mend it (a shape mismatch, a broken invariant). main prints it and exits with 3.
class InternalError : public std::logic_error {
  using std::logic_error::logic_error;
};

// SIGINT, SIGTERM or --timeout asked us to stop, and everything resumable has been written. main exits with 130.
class Stopped : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Not std::source_location: clang 14, whose clang-tidy Debian 12 has, lacks it.
struct Place {
  const char *file, *function;
  int line;
};

[[noreturn]] void fail_check(const std::string& message, Place where);

#ifdef __CUDACC__
#define MPQ_CONSTEVAL
#else
#define MPQ_CONSTEVAL consteval
#endif
// check(a == b, "rows {} != {}", a, b): an invariant, with the values that break it.
template <class... Args>
struct Check {
  Place where;
  fmt::format_string<Args...> text;
  template <class S>
  MPQ_CONSTEVAL Check(const S& s, const char* file = __builtin_FILE(), const char* function = __builtin_FUNCTION(),
                      int line = __builtin_LINE())
      : where{file, function, line}, text(s) {}
};
template <class... Args>
inline void check(bool holds, Check<std::type_identity_t<Args>...> message, Args&&... args) {
  if (!holds) [[unlikely]]
    fail_check(fmt::format(message.text, std::forward<Args>(args)...), message.where);
}

}  // namespace mpq
