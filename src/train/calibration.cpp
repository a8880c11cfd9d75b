#include "train/calibration.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "base/parallel.h"

namespace mpq {
namespace {

// Formats that are to be fitted to the same values, each once.
class Fits {
 public:
  void add(OpenFormat& format) {
    if (format.open) waiting_[to_text(format.spec)].push_back(&format);
  }
  void close(std::span<const float> values, FitRule rule) {
    std::vector<const std::vector<OpenFormat*>*> groups;
    for (const auto& [text, formats] : waiting_) groups.push_back(&formats);
    parallel_for(static_cast<int64_t>(groups.size()), [&](int64_t i) {
      const QuantSpec fitted = fit(groups[i]->front()->spec, values, rule);
      for (OpenFormat* format : *groups[i]) *format = {fitted};
    });
  }

 private:
  std::map<std::string, std::vector<OpenFormat*>> waiting_;
};

}  // namespace

std::vector<std::vector<LinearSpec>> calibrate(Session& session, const Batch& rows,
                                               const std::vector<std::vector<OpenLinear>>& formats, FitRule rule) {
  std::vector<std::vector<OpenLinear>> closing = formats;
  const auto close = [&](int row, OpenFormat OpenLinear::*operand, std::span<const float> values) {
    Fits fits;
    for (std::vector<OpenLinear>& list : closing)
      if (row < std::ssize(list)) fits.add(list[row].*operand);
    fits.close(values, rule);
  };
  for (const Linear* linear : session.model().linears()) {
    close(linear->index, &OpenLinear::w, session.get(0, *linear->weight));
    close(linear->index, &OpenLinear::b, session.get(0, *linear->bias));
  }
  for (const EmbeddingTable& table : session.model().tables())
    close(table.index, &OpenLinear::w, session.get(0, *table.weight));
  session.observe(rows,
                  [&](const Linear& linear, std::span<const float> x) { close(linear.index, &OpenLinear::x, x); });
  std::vector<std::vector<LinearSpec>> closed(closing.size());
  for (size_t i = 0; i < closing.size(); ++i)
    for (const OpenLinear& linear : closing[i]) closed[i].push_back(linear.closed());
  return closed;
}

Batch calibration_rows(const Split& split, int64_t count) {
  const int64_t n = std::min(count, split.row_count());
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < n; ++i) rows.push_back(i * split.row_count() / n);
  return make_batch(split, rows);
}

}  // namespace mpq
