// mpq bench qat: what a step costs when every Linear is quantized.
#include "app/bench_session.h"

namespace mpq {
namespace {
using Json = nlohmann::ordered_json;

bool has_tiles(const QuantSpec& spec) {
  return visit(spec, [](const auto& parameters) { return TileFormat<std::remove_cvref_t<decltype(parameters)>>; });
}

// Steps of the float model and of the family's take turns, so that a busy moment hurts both.
Json compare(const BenchContext& context, Device& device, const Bert& model, const Split& split, const Family& family) {
  const LinearSpec spec = parse_linear_spec(family.choices[0]);
  const auto with_float = make_session(device, model, context, {}, true),
             with_family = make_session(device, model, context, spec, true);
  attach(*with_float, split, context.batch);
  attach(*with_family, split, context.batch);
  Stopwatch warm_up, float_steps, family_steps;
  const int64_t batches = split.row_count() / context.batch, at_once = context.on_cpu() ? 1 : batches;
  for (int64_t i = 0; i < 2 * batches || i % batches != 0 ||
                      float_steps.timing().total + family_steps.timing().total < 6 * context.budget_s;
       i += at_once) {
    (i < batches ? warm_up : float_steps).time([&] { with_float->train_steps(at_once); });
    (i < batches ? warm_up : family_steps).time([&] { with_family->train_steps(at_once); });
  }
  const Timing a = float_steps.timing(), b = family_steps.timing();
  const FormatTable formats(model, {std::vector(model.linears().size(), spec)});
  // Where a format of the last layer always has to see every row, its forward (and, for an output's format, its
  // gradient) is that of a whole layer, at most.
  const bool gradient_cls = !formats.output_over_sequence(),
             forward_cls = gradient_cls && !formats.input_tiles_over_rows();
  const double flops_ratio =
      (forward_flops(context.model, split, forward_cls) + 2 * forward_flops(context.model, split, gradient_cls)) /
      (3 * forward_flops(context.model, split));
  return {{"format", family.choices[0]},
          {"family", family.name},
          {"float_ms", a.median / static_cast<double>(at_once) * 1e3},
          {"family_ms", b.median / static_cast<double>(at_once) * 1e3},
          {"ratio", b.median / a.median},
          {"cpu_ratio", b.cpu / a.cpu},
          {"target", has_tiles(spec.x) ? 1.6 : 1.3},
          {"flops_ratio", flops_ratio},
          {"steps", b.repetitions * at_once}};
}

}  // namespace

BenchTables bench_qat(const BenchContext& context) {
  const Split split = random_reviews(context, (context.quick ? 1 : 4) * context.batch);
  const Bert model(context.model);
  const auto device = context.open();
  BenchTable table{"qat",
                   "a quantization-aware step (every Linear) beside the float step, ratio of medians; flops_ratio is "
                   "above 1 where a format looks over the whole sequence, which the "
                   "last layer then computes; " +
                       describe(context, context.batch)};
  for (const Family& family : families())
    if (family.name != "none") table.rows.push_back(compare(context, *device, model, split, family));
  return {table};
}

}  // namespace mpq
