// Prunes a model, evaluates it, fine-tunes it, evaluates it; once, or as a sweep beside a dense control.
#include <fmt/format.h>

#include "app/commands.h"
#include "app/prune_report.h"
#include "base/file.h"
#include "base/stop.h"
#include "search/memory_storage.h"

namespace mpq {
namespace {

// A sweep is a study in its folder; a single model's folder is its checkpoint, and only its training state is kept.
std::unique_ptr<Storage> storage_of(const PruneOptions& options, bool single) {
  if (single) {
    check_checkpoint_target(options.out);
    return std::make_unique<MemoryStorage>();
  }
  make_folders(options.out);
  return open_storage("sqlite:///" + (std::filesystem::path(options.out) / "study.db").string(), OpenMode::create);
}

}  // namespace

int run_prune(const Args& args) {
  PruneOptions options;
  CommandLine line(
      "prune",
      "mpq prune --init DIR [--sparsity 0.5] [--method l1] [--weights] [--activations] [--epochs 5] --out "
      "DIR\n\nPrunes "
      "every Linear of a trained model, evaluates it, fine-tunes it, and evaluates it again. Masks of weights are\n"
      "fixed and kept with the model, whose pruned weights are true zeros; activations are pruned in every "
      "forward,\nl1 "
      "by a threshold for each token's row. Several sparsities, methods or seeds are a sweep: a table and a figure\n"
      "beside the dense model with the same extra epochs. A % in --init stands for the seed. Kill it, run it again: "
      "it\n"
      "goes on.\n\nExample: mpq prune --init base --data imdb --sparsity 0.1:0.9:0.1 --method l1,random --seeds 3 "
      "--out runs/prune");
  options.add_to(line);
  if (!line.parse(args)) return 0;
  line.require({"init", "out"});
  if (line.given("pattern") && line.given("sparsity"))
    throw UserError("--sparsity and --pattern exclude each other", "2:4 is a sparsity of 0.5");
  const bool single = is_single(prune_points(options));  // wrong sparsities show before anything long
  options.machine.apply();
  install_stop_signals();
  const Devices devices = options.machine.open_all();
  TrainArgs first_base = options.train;
  first_base.init = base_of(options.train, options.train.seed);
  Setup setup(options.data.options(), first_base);
  require_head(*setup.init);
  if (setup.data.valid.row_count() + setup.data.test.row_count() == 0)
    throw UserError("the data have no split to evaluate on", "--valid PATH|FRACTION or --test PATH bring one");
  const auto storage = storage_of(options, single);
  PruneRun run(options, setup, devices, *storage);
  line.announce();
  run.print_plan(devices);

  run.run();
  const std::vector<PruneResult> results = run.results();
  if (!single) write_report(results, options, run.on_test());
  if (line.json())
    print_json(to_json(results, run.on_test()));
  else
    fmt::print("\n{}\n{}: {}\n", table_text(results), options.out,
               single ? "the pruned model" : "table.tsv, points.tsv, accuracy_by_sparsity.svg and .png");
  return 0;
}

}  // namespace mpq
