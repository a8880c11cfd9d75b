// A figure of any table of results: what its rows repeat becomes a mean with its interval.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "app/commands.h"
#include "app/figure.h"
#include "app/table.h"
#include "base/error.h"
#include "base/file.h"
#include "base/text.h"

namespace mpq {
namespace fs = std::filesystem;
namespace {

struct Options {
  std::string in, curve, x, y, title, x_title, y_title, control, out;
  bool logarithmic_x = false;
};

// One row of the table that is drawn.
struct Row {
  std::string curve, x;
  double y;
};

size_t column(const std::vector<std::string_view>& header, const std::string& name, const std::string& file) {
  const auto at = std::find(header.begin(), header.end(), name);
  if (at != header.end()) return static_cast<size_t>(at - header.begin());
  std::vector<std::string> names(header.begin(), header.end());
  throw UserError(fmt::format("{}: no column {}", file, name), "its columns: " + join(names, ", "));
}

std::vector<Row> read_rows(const Options& o) {
  const std::string text = read_file(o.in);
  const auto lines = split(trim(text), '\n');
  const auto header = split(lines[0], '\t');
  const size_t curve = column(header, o.curve, o.in), x = column(header, o.x, o.in), y = column(header, o.y, o.in);
  std::vector<Row> rows;
  for (size_t i = 1; i < lines.size(); ++i) {
    const auto cells = split(lines[i], '\t');
    const auto value = cells.size() == header.size() ? parse_double(cells[y]) : std::nullopt;
    if (!value)
      throw UserError(fmt::format("{}, line {}: no number in column {}", o.in, i + 1, o.y),
                      "as many cells as the header, and numbers to draw");
    rows.push_back({std::string(cells[curve]), std::string(cells[x]), *value});
  }
  if (rows.empty()) throw UserError(fmt::format("{}: no rows", o.in), "a header and at least one line below it");
  return rows;
}

// In the order of their first appearance.
template <class Key>
std::vector<std::string> distinct(const std::vector<Row>& rows, const Key& key) {
  std::vector<std::string> all;
  for (const Row& row : rows)
    if (std::find(all.begin(), all.end(), key(row)) == all.end()) all.push_back(key(row));
  return all;
}

std::vector<double> values_at(const std::vector<Row>& rows, const std::string& curve, const std::string& x) {
  std::vector<double> values;
  for (const Row& row : rows)
    if (row.curve == curve && (x.empty() || row.x == x)) values.push_back(row.y);
  return values;
}

class Drawing {
 public:
  Drawing(const Options& options, std::vector<Row> rows) : options_(options), rows_(std::move(rows)) {
    curves_ = distinct(rows_, [](const Row& row) { return row.curve; });
    names_ = distinct(rows_, [](const Row& row) { return row.x; });
    numbers_ = std::all_of(names_.begin(), names_.end(), [](const std::string& x) { return parse_double(x); });
    if (numbers_)
      std::sort(names_.begin(), names_.end(),
                [](const auto& a, const auto& b) { return *parse_double(a) < *parse_double(b); });
    if (!options.control.empty() && std::erase(curves_, options.control) == 0)
      throw UserError(fmt::format("--control {}: no such curve", options.control),
                      "the curves: " + join(curves_, ", "));
    if (options.logarithmic_x && !numbers_)
      throw UserError(fmt::format("--log-x: {} is no number", names_[0]), "names stand side by side");
  }

  Figure figure() const {
    Figure figure{.title = options_.title,
                  .x_title = options_.x_title,
                  .y_title = options_.y_title,
                  .logarithmic_x = options_.logarithmic_x,
                  .x_names = numbers_ ? std::vector<std::string>{} : names_};
    for (size_t i = 0; i < curves_.size(); ++i) figure.curves.push_back(curve(i));
    if (options_.control.empty()) return figure;
    const double first = numbers_ ? at(0) : -0.5, last = numbers_ ? at(names_.size() - 1) : at(names_.size() - 1) + 0.5;
    figure.curves.push_back(control_line(options_.control, first, last, values_at(rows_, options_.control, "")));
    return figure;
  }

  Table means() const {
    Table table{{options_.curve, options_.x, "n", "mean", "95% low", "95% high"}, {}};
    for (const std::string& curve : distinct(rows_, [](const Row& row) { return row.curve; }))
      for (const std::string& x : names_) {
        const std::vector<double> values = values_at(rows_, curve, x);
        if (values.empty()) continue;
        Curve one{.name = curve};
        add_mean(one, 0, values);
        const auto cell = [&](double number) { return values.size() > 1 ? fmt::format("{:.4f}", number) : "-"; };
        table.add({curve, x, std::to_string(values.size()), fmt::format("{:.4f}", one.y[0]), cell(one.low[0]),
                   cell(one.high[0])});
      }
    return table;
  }

 private:
  double at(size_t x) const { return numbers_ ? *parse_double(names_[x]) : static_cast<double>(x); }

  // Over a name the curves stand beside each other.
  Curve curve(size_t i) const {
    const double shift =
        numbers_ ? 0 : 0.6 * ((static_cast<double>(i) + 0.5) / static_cast<double>(curves_.size()) - 0.5);
    Curve curve{
        .name = curves_[i], .look = numbers_ ? Curve::Look::line : Curve::Look::marks, .spread = Curve::Spread::bars};
    for (size_t x = 0; x < names_.size(); ++x)
      if (const auto values = values_at(rows_, curves_[i], names_[x]); !values.empty())
        add_mean(curve, at(x) + shift, values);
    return curve;
  }

  const Options& options_;
  std::vector<Row> rows_;
  std::vector<std::string> curves_, names_;
  bool numbers_;
};

}  // namespace

int run_plot(const Args& args) {
  Options o;
  CommandLine line(
      "plot",
      "mpq plot --in TABLE.tsv --curve COLUMN --x COLUMN --y COLUMN --out DIR/NAME\n\nDraws a table with a "
      "header: a curve for each value of one column; where rows repeat curve and x, their mean and its\n95 "
      "% interval (Student's t). Where x is not a number its values stand side by side. Prints the means; "
      "writes NAME.svg,\n.png, .tsv and .gp.\n\nExample: mpq plot --in runs.tsv --curve method --x width "
      "--y accuracy --control float --out runs/by_width");
  line.group("Figure");
  line.option("in", o.in, "FILE", "a table, tabs between its cells, a header first");
  line.option("curve", o.curve, "COLUMN", "what a curve stands for");
  line.option("x", o.x, "COLUMN", "numbers, or names");
  line.option("y", o.y, "COLUMN", "numbers");
  line.option("control", o.control, "CURVE", "this one is a horizontal line, with the interval as a band");
  line.option("title", o.title, "TEXT", "above the figure");
  line.option("x-title", o.x_title, "TEXT", "of the axis, with its unit; default: the column");
  line.option("y-title", o.y_title, "TEXT", "likewise");
  line.flag("log-x", o.logarithmic_x, "a logarithmic x axis, to base 2");
  line.option("out", o.out, "DIR/NAME", "where the figure goes, without an ending");
  if (!line.parse(args)) return 0;
  line.require({"in", "curve", "x", "y", "out"});
  if (o.x_title.empty()) o.x_title = o.x;
  if (o.y_title.empty()) o.y_title = o.y;

  const Drawing drawing(o, read_rows(o));
  const fs::path out = o.out, folder = out.has_parent_path() ? out.parent_path() : ".";
  make_folders(folder);
  write_figure(drawing.figure(), folder, out.filename().string());
  const Table means = drawing.means();
  if (!line.json()) return fmt::print("{}", to_text(means)), 0;
  for (const auto& row : means.rows) {
    nlohmann::ordered_json json;
    for (size_t i = 0; i < row.size(); ++i) {
      const auto number = i > 1 ? parse_double(row[i]) : std::nullopt;
      json[means.header[i]] = number ? nlohmann::ordered_json(*number) : nlohmann::ordered_json(row[i]);
    }
    print_json(json);
  }
  return 0;
}

}  // namespace mpq
