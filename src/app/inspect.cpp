// A model as something to look at: its operations in order, what each holds and does, and a drawing.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "app/commands.h"
#include "app/format_options.h"
#include "app/lora_options.h"
#include "app/operation_graph.h"
#include "app/search_space.h"
#include "app/table.h"
#include "app/training.h"
#include "base/error.h"
#include "base/file.h"
#include "base/text.h"

namespace mpq {
namespace {
using Json = nlohmann::ordered_json;

constexpr const char* kConvention =
    "One sequence. A multiply-add is one product and its addition, in matrix products only; behind the last layer's "
    "keys and values only [CLS] goes on. Bytes of x and w are those of their formats, shared scales counted.";

int64_t bytes(double bits) { return static_cast<int64_t>(std::ceil(bits / 8)); }

Operation sum(const std::vector<Operation>& operations) {
  Operation total{.name = "total"};
  for (const Operation& o : operations) {
    total.parameters += o.parameters, total.multiply_adds += o.multiply_adds;
    total.x_bits += o.x_bits, total.w_bits += o.w_bits, total.b_bits += o.b_bits;
  }
  return total;
}

Json json_of(const Operation& o) {
  Json format = o.kind == "linear" ? Json(to_text(o.format)) : Json();
  for (const TableFormat& t : o.tables) format[t.table] = to_text(t.format);
  return {{"name", o.name},
          {"kind", o.kind},
          {"shape", {o.rows, o.cols}},
          {"parameters", o.parameters},
          {"multiply_adds", o.multiply_adds},
          {"format", format},
          {"bytes", {{"x", bytes(o.x_bits)}, {"w", bytes(o.w_bits)}, {"b", bytes(o.b_bits)}}},
          {"inputs", o.inputs}};
}

std::vector<std::string> row_of(const Operation& o) {
  const std::string shape = o.kind.empty() ? "" : fmt::format("{} x {}", o.rows, o.cols);
  return {o.name,
          o.kind,
          shape,
          fmt::format("{}", o.parameters),
          fmt::format("{}", o.multiply_adds),
          fmt::format("{}", bytes(o.x_bits)),
          fmt::format("{}", bytes(o.w_bits)),
          fmt::format("{}", bytes(o.b_bits)),
          o.kind == "linear" ? to_text(o.format) : join(table_texts(o), " ")};
}

void print(const std::vector<Operation>& operations, const Json& result) {
  Table table{{"operation", "kind", "result", "parameters", "multiply-adds", "x bytes", "w bytes", "b bytes", "format"},
              {}};
  for (const Operation& o : operations) table.add(row_of(o));
  table.add(row_of(sum(operations)));
  fmt::print("{}\n{} parameters in {} bits, {:.2f} a parameter: {}\n{}\n", to_text(table),
             result["parameters"].get<int64_t>(), result["model_bits"].get<int64_t>(),
             result["bits_per_parameter"].get<double>(),
             human_bytes(static_cast<uint64_t>(bytes(result["model_bits"].get<double>()))), kConvention);
  if (const auto adapters = result["adapter_parameters"].get<int64_t>(); adapters > 0)
    fmt::print("with adapters of {} parameters; {} are trained, the rest is frozen\n", adapters,
               result["trained_parameters"].get<int64_t>());
  if (result.contains("identity_linears"))
    fmt::print("identities, not listed: {}\n",
               fmt::join(result["identity_linears"].get<std::vector<std::string>>(), ", "));
}

struct Options {
  std::string preset = "tiny", checkpoint, lora;
  AdapterArgs adapter;
};

struct Model {
  BertConfig config;
  std::vector<LinearSpec> formats;  // of a checkpoint
  AdapterPlan adapters;
};

Model model_of(const Options& options) {
  Model model;
  if (options.checkpoint.empty()) {
    model.config = parse_model(options.preset);
  } else {
    Checkpoint checkpoint = read_checkpoint(options.checkpoint);
    model.adapters = plan_of(options.adapter.read(checkpoint));
    model.config = checkpoint.config, model.formats = checkpoint.formats;
  }
  if (!options.lora.empty()) model.adapters = adapt(model.config, parse_lora(options.lora)).plan;
  return model;
}

void check_against(const Options& options, const CommandLine& line) {
  if (line.given("model") && line.given("checkpoint"))
    throw UserError("--model and --checkpoint are both given", "one of them names the model");
  if (!options.adapter.folder.empty() && (options.checkpoint.empty() || !options.lora.empty()))
    throw UserError("--adapter is not alone, or without --checkpoint",
                    "it stands beside the checkpoint it was trained on");
}

}  // namespace

int run_inspect(const Args& args) {
  FormatArgs format_args;
  Options options;
  std::string out;
  int tokens = 275;
  CommandLine line(
      "inspect",
      "mpq inspect --model NAME|L,H,A,F | --checkpoint DIR [--format SPEC] [--out DIR]\n\nThe operations "
      "of a model in order, with the shape of their results, parameters, multiply-adds, and the bytes "
      "of\ntheir operands in their number formats. --model has BERT's vocabulary and two classes. With "
      "--out also a drawing\n(model.dot and, by Graphviz, model.svg).\n\nExample: mpq inspect --model tiny "
      "--layer-format \"encoder.*.query=integer(width=4,frac=2)\" --out drawing");
  line.option("model", options.preset, "NAME|L,H,A,F", "tiny, mini, small, medium, base, or layers,hidden,heads,ffn");
  line.option("checkpoint", options.checkpoint, "DIR",
              "folder that mpq train or save_pretrained wrote, in its formats");
  options.adapter.add_to(line);
  line.option("lora", options.lora, "SETTINGS",
              "with low-rank adapters, as mpq train takes them: rank=8,targets=query");
  format_args.add_to(line);
  line.option("tokens", tokens, "N", "length of the sequence", {.min = 1});
  line.option("out", out, "DIR", "where the drawing goes");
  if (!line.parse(args)) return 0;
  check_against(options, line);

  const Model asked = model_of(options);
  Bert model(asked.config, asked.adapters);
  if (model.adapters) freeze_base(model);
  if (tokens > asked.config.positions)
    throw UserError(fmt::format("--tokens {}: the model has {} positions", tokens, asked.config.positions),
                    fmt::format("at most {}", asked.config.positions));
  const std::vector<LinearSpec> formats = format_args.resolve(model, asked.formats);
  line.announce();

  const std::vector<Operation> all = operations(model, formats, tokens);
  const int64_t parameters = model.parameters().count(), in_adapters = adapter_count(model, asked.adapters.most_rank);
  const double bits_each = bits_per_parameter(model, formats);
  Json result{{"tokens", tokens},
              {"parameters", parameters},
              {"adapter_parameters", in_adapters},
              {"trained_parameters", trained_parameters(model, asked.adapters.most_rank)},
              {"multiply_adds", sum(all).multiply_adds},
              {"model_bits", std::llround(bits_each * static_cast<double>(parameters))},
              {"bits_per_parameter", bits_each},
              {"convention", kConvention},
              {"operations", Json::array()}};
  for (const Operation& o : all) result["operations"].push_back(json_of(o));
  if (!asked.config.identities.empty()) result["identity_linears"] = asked.config.identities;
  if (!out.empty()) draw_operations(all, out, "model");
  line.json() ? print_json(result) : print(all, result);
  return 0;
}

}  // namespace mpq
