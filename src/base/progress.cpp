#include "base/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "base/text.h"

namespace mpq {
namespace {
constexpr std::chrono::milliseconds terminal_period{100}, plain_period{10000};
}

std::string progress_text(const ProgressState& state, int bar_width) {
  const int64_t total = std::max<int64_t>(state.total, 1);
  std::string text = state.what;
  if (bar_width > 0) {
    const auto filled = static_cast<size_t>(std::clamp<int64_t>(state.done * bar_width / total, 0, bar_width));
    text += fmt::format(" [{}{}]", std::string(filled, '#'), std::string(static_cast<size_t>(bar_width) - filled, '-'));
  }
  text += fmt::format(" {}/{} {}", state.done, state.total, state.unit);
  if (state.done > state.first && state.seconds > 0) {
    const double rate = static_cast<double>(state.done - state.first) / state.seconds;
    text += fmt::format(", {:.{}f}/s", rate, rate < 10 ? 2 : rate < 100 ? 1 : 0);
    if (state.done < state.total)
      text += fmt::format(", {} left", human_seconds(static_cast<double>(state.total - state.done) / rate));
  }
  return state.note.empty() ? text : text + ", " + state.note;
}

Progress::Progress(std::string what, int64_t total, std::string unit, int64_t done)
    : what_(std::move(what)),
      unit_(std::move(unit)),
      total_(total),
      first_(done),
      done_(done),
      terminal_(::isatty(STDERR_FILENO)),
      start_(Clock::now()),
      last_(start_) {}

Progress::~Progress() {
  if (!printed_) return;
  print();
  if (terminal_) fmt::print(stderr, "\n");
}

void Progress::update(int64_t done, const std::string& note) {
  done_ = done;
  const auto now = Clock::now();
  if (now - last_ < (terminal_ ? terminal_period : plain_period)) return;
  last_ = now;
  note_ = note;
  print();
}

void Progress::print() {
  const double seconds = std::chrono::duration<double>(Clock::now() - start_).count();
  const std::string text = progress_text({what_, unit_, note_, total_, done_, first_, seconds}, terminal_ ? 30 : 0);
  if (terminal_) {
    fmt::print(stderr, "\r{}\033[K", text);  // the escape clears what a longer line left
  } else {
    fmt::print(stderr, "{}\n", text);
  }
  std::fflush(stderr);
  printed_ = true;
}

}  // namespace mpq
