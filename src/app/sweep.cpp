// Accuracy against width: post-training quantization and quantization-aware training, beside the float control.
#include <fmt/format.h>

#include "app/commands.h"
#include "app/sweep_report.h"
#include "base/file.h"
#include "base/stop.h"

namespace mpq {
namespace {

void declare(CommandLine& line, SweepOptions& o) {
  line.group("Sweep");
  line.list("format", o.formats, "FORMAT",
            "a curve: a format with % for its width; may be repeated (default: integer(width=%,frac=half) and "
            "integer(width=%,frac=auto))");
  line.option("family", o.family, "all|NAME[,NAME]", "curves of one point: each family with its first choice");
  line.list("layer-format", o.layers, "NAME=FORMAT",
            "number format of one Linear, or of those that a shell pattern names, on every curve; may be repeated");
  line.choice("each", o.each, {"model", "layer", "linear"},
              "what has the format: the whole model; or one layer, or one Linear, at a time, the others in float");
  line.option("widths", o.widths, "N[,N]", "the widths; a format that has no such width leaves it out");
  line.choice("mode", o.mode, {"both", "ptq", "qat"}, "evaluate the base with the format, train on with it, or both");
  line.option("seeds", o.seeds, "N", "--seed and the next ones; order of the rows and dropout",
              {.min = 1, .max = 1000});
  o.calibration.add_to(line);
  line.option("replicas", o.replicas, "N",
              "points trained together in a session, with the same results; 0: what suits the device",
              {.min = 0, .max = 4096});
  line.option("storage", o.storage, "sqlite:///PATH", "Optuna's schema; default: study.db in --out");
  line.option("out", o.out, "DIR", "table, figure, every point");
  o.data.add_to(line);
  o.train.add_to(line);
  o.teacher.add_to(line);
  o.machine.add_to(line);
}

TrainArgs first_base(const SweepOptions& options) {
  TrainArgs train = options.train;
  train.init = base_of(train, train.seed);
  return train;
}

}  // namespace

int run_sweep(const Args& args) {
  SweepOptions options;
  CommandLine line("sweep",
                   "mpq sweep --init DIR [data] [training] [--format FORMAT]... [--widths N,N] [--seeds N]\n\nThe base "
                   "model in every format at every width: as it is (PTQ), and trained on for --epochs with the format "
                   "(QAT),\nbeside float with the same extra epochs; mean and 95 % interval over seeds. A % in --init "
                   "stands for the seed: a\nbase of its own for each. Kill it, run it again: it goes on.\n\nExample: "
                   "mpq sweep --init base --data imdb --format \"integer(width=%,frac=auto)\" --widths 4,8,16 --out "
                   "runs/sweep");
  declare(line, options);
  if (!line.parse(args)) return 0;
  sweep_points(options);  // wrong formats show before anything long
  options.machine.apply();
  install_stop_signals();
  if (options.storage.empty())
    options.storage = "sqlite:///" + (std::filesystem::path(options.out) / "study.db").string();
  const Devices devices = options.machine.open_all();
  make_folders(options.out);
  Setup setup(options.teacher.with_unlabelled(options.data.options()), first_base(options));
  require_head(*setup.init);
  if (setup.data.valid.row_count() + setup.data.test.row_count() == 0)
    throw UserError("the data have no split to evaluate on", "--valid PATH|FRACTION or --test PATH bring one");
  options.teacher.apply(setup, *devices[0]);
  const auto storage = open_storage(options.storage, OpenMode::create);
  Sweep sweep(options, setup, devices, *storage);
  line.announce();
  sweep.print_plan(devices);

  sweep.run();
  const std::vector<SweepResult> results = sweep.results();
  report(results, options, Bert(setup.config), line.json());
  if (line.json())
    print_json(to_json(results));
  else
    fmt::print("{}\n", baseline_line(setup.data.splits));
  return 0;
}

}  // namespace mpq
