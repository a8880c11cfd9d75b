#include "app/sweep_points.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "app/point_study.h"
#include "base/error.h"
#include "base/text.h"

namespace mpq {
namespace {

std::string fill_in(const std::string& text, const std::string& value) {
  std::string filled;
  for (const char c : text) c == '%' ? void(filled += value) : filled.push_back(c);
  return filled;
}

std::vector<int> parse_widths(const std::string& text) {
  std::vector<int> widths;
  for (const std::string_view part : split(text, ',')) {
    const auto width = parse_int(trim(part));
    if (!width || *width < 1 || *width > 32 || std::count(widths.begin(), widths.end(), *width))
      throw UserError(fmt::format("--widths {}: {}", text, part), "different widths from 1 to 32, separated by commas");
    widths.push_back(static_cast<int>(*width));
  }
  return widths;
}

std::vector<std::string> curves_of(const SweepOptions& options) {
  std::vector<std::string> curves = options.formats;
  const auto add = [&](const Family& family) {
    if (family.name != "none") curves.emplace_back(family.choices[0]);
  };
  if (options.family == "all")
    for (const Family& family : families()) add(family);
  else if (!options.family.empty())
    for (const std::string_view name : split(options.family, ',')) add(find_family(trim(name)));
  if (curves.empty()) curves = {"integer(width=%,frac=half)", "integer(width=%,frac=auto)"};
  return curves;
}

struct CurvePoint {
  std::string curve, text;
  int width;
};

// The widths that the format can have: log has none of 32.
std::vector<CurvePoint> formats_of_curve(const std::string& curve, const std::vector<int>& widths) {
  if (curve.find('%') == std::string::npos) return parse_open_linear(curve), std::vector<CurvePoint>{{curve, curve, 0}};
  std::vector<CurvePoint> formats;
  for (const int width : widths) {
    const std::string text = fill_in(curve, std::to_string(width));
    try {
      parse_open_linear(text);
      formats.push_back({curve, text, width});
    } catch (const UserError& error) {
      if (width == widths.back() && formats.empty())
        throw UserError(fmt::format("--format {}: {}", curve, error.what()), error.hint());
    }
  }
  return formats;
}

}  // namespace

std::string SweepPoint::name() const {
  return fmt::format("{} {}{} seed {}", trained ? "qat" : "ptq", format, part.empty() ? "" : " in " + part, seed);
}

std::vector<std::string> parts_of(const SweepOptions& options, const Bert& model) {
  if (options.each == "model") return {""};
  std::vector<std::string> parts;
  for (const Linear* linear : model.linears()) {
    const bool in_layer = linear->index < std::ssize(model.linears()) - 2;  // pooler and classifier are behind them
    std::string part = linear->name.substr(linear->name.starts_with("bert.") ? 5 : 0);
    if (options.each == "layer" && in_layer) part = part.substr(0, part.find('.', part.find("layer.") + 6)) + ".*";
    if (parts.empty() || parts.back() != part) parts.push_back(part);
  }
  return parts;
}

std::vector<SweepPoint> sweep_points(const SweepOptions& options, const std::vector<std::string>& parts) {
  const bool ptq = options.mode != "qat", qat = options.mode != "ptq";
  if (options.train.init.empty())
    throw UserError("a sweep starts from a trained model", "name it with --init DIR; mpq train --out DIR makes one");
  if (qat && options.train.epochs == 0)
    throw UserError("--epochs 0: nothing is trained", "--mode ptq evaluates without training");
  std::vector<CurvePoint> formats;
  const std::vector<int> widths = parse_widths(options.widths);
  for (const std::string& curve : curves_of(options))
    for (const CurvePoint& format : formats_of_curve(curve, widths)) formats.push_back(format);
  std::vector<SweepPoint> points;
  std::set<std::string> names;
  const auto add = [&](const SweepPoint& point) {
    if (!names.insert(point.name()).second)
      throw UserError(fmt::format("the format {} is asked for twice", point.format), "once is enough");
    points.push_back(point);
  };
  for (int s = 0; s < options.seeds; ++s)
    for (const bool trained : {false, true}) {
      if (trained ? !qat : !ptq || (s > 0 && !has_own_base(options.train))) continue;
      const uint64_t seed = options.train.seed + static_cast<uint64_t>(s);
      add({trained, "none", 0, "none", seed});
      for (const CurvePoint& f : formats)
        for (const std::string& part : parts) add({trained, f.curve, f.width, f.text, seed, part});
    }
  return points;
}

OpenFormats formats_of(const SweepPoint& point, const SweepOptions& options, const Bert& model) {
  FormatArgs args{.format = point.part.empty() ? point.format : "none"};
  if (!point.is_control()) args.layers = options.layers;
  if (!point.part.empty()) args.layers.push_back(point.part + "=" + point.format);
  return args.parse(model, ClosedFormats(model.linears().size()));
}

}  // namespace mpq
