#include "app/operation_graph.h"

#include <fmt/format.h>

#include "app/drawing.h"
#include "base/file.h"
#include "base/log.h"

namespace mpq {
namespace fs = std::filesystem;
namespace {

// "bert.encoder.layer.0" of the operations of a layer, "" of the others.
std::string layer_of(const Operation& o) {
  const std::string prefix = "bert.encoder.layer.";
  return o.name.starts_with(prefix) ? o.name.substr(0, o.name.find('.', prefix.size())) : "";
}

const char* colour(const Operation& o) {
  if (o.kind == "linear") return o.format == LinearSpec{} ? "#DCE9F5" : "#F8DFC0";
  return o.kind == "attention" ? "#DDEFD9" : "#F2F2F2";
}

std::string node(const Operation& o, size_t number) {
  const std::string layer = layer_of(o);
  std::string label = (layer.empty() ? o.name : o.name.substr(layer.size() + 1)) + "\\n";
  if (o.kind != "linear") label += o.kind + ", ";
  label += fmt::format("{} x {}", o.rows, o.cols);
  if (o.format != LinearSpec{}) label += "\\n" + to_text(o.format);
  for (const std::string& table : table_texts(o)) label += "\\n" + table;
  return fmt::format("n{} [label=\"{}\", fillcolor=\"{}\"];\n", number, label, colour(o));
}

}  // namespace

std::string to_dot(const std::vector<Operation>& operations) {
  std::string
      text =
          "digraph model {\nrankdir=TB;\nnode [shape=box, style=\"rounded,filled\", fontname=\"sans\", fontsize=11];\n",
      layer, arrows;
  for (size_t i = 0; i < operations.size(); ++i) {
    const Operation& o = operations[i];
    if (layer_of(o) != layer) {
      if (!layer.empty()) text += "}\n";
      layer = layer_of(o);
      if (!layer.empty())
        text +=
            fmt::format("subgraph \"cluster {0}\" {{\nlabel=\"{0}\";\nfontname=\"sans\";\ncolor=\"#999999\";\n", layer);
    }
    text += node(o, i);
    for (int from : o.inputs) arrows += fmt::format("n{} -> n{};\n", from, i);
  }
  return text + (layer.empty() ? "" : "}\n") + arrows + "}\n";
}

bool draw_operations(const std::vector<Operation>& operations, const fs::path& folder, const std::string& name) {
  const std::string dot = to_dot(operations);
  write_file_atomic(folder / (name + ".dot"), dot);
  AtomicFolder scratch(folder / (name + ".drawing"));  // never committed: only a place that cleans up after itself
  write_file_atomic(scratch.path() / (name + ".dot"), dot);
  const std::string complaint =
      run_in(scratch.path(), {"dot", "-Tsvg", name + ".dot", "-o", name + ".svg"}, "graphviz");
  if (!complaint.empty()) {
    log().warn("{} is not drawn: {}; the graph is in {}", name, complaint, (folder / (name + ".dot")).string());
    return false;
  }
  write_file_atomic(folder / (name + ".svg"), read_file(scratch.path() / (name + ".svg")));
  return true;
}

}  // namespace mpq
