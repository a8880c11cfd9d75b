#include "app/calibration_options.h"

#include <algorithm>

namespace mpq {

void CalibrationArgs::add_to(CommandLine& line) {
  line.choice("calibrate", rule, {"mse", "max"},
              "how a scale `auto` is chosen: the least squared error, or the range that holds every value");
  line.option("calibration-rows", rows, "N", "training rows whose activations choose it", {.min = 1, .max = 4096});
}

std::vector<ClosedFormats> CalibrationArgs::close(const std::vector<OpenFormats>& formats, Device& device,
                                                  const Bert& model, int max_tokens, const Split& train, uint64_t seed,
                                                  const std::function<void(Session&)>& start) const {
  std::vector<ClosedFormats> closed;
  const auto open = [](const OpenFormats& list) {
    return std::any_of(list.begin(), list.end(), [](const OpenLinear& linear) { return linear.open(); });
  };
  if (std::none_of(formats.begin(), formats.end(), open)) {
    for (const OpenFormats& list : formats) {
      closed.emplace_back();
      for (const OpenLinear& linear : list) closed.back().push_back(linear.closed());
    }
    return closed;
  }
  const Batch batch = calibration_rows(train, rows);
  const Replica floats{.seed = seed, .formats = ClosedFormats(model.linears().size())};
  Session session(device, model, {floats},
                  {.eval_rows = static_cast<int>(batch.row_count()), .max_tokens = max_tokens, .training = false});
  start(session);
  return calibrate(session, batch, formats, parse_fit_rule(rule));
}

}  // namespace mpq
