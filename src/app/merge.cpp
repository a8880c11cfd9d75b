// Folds LoRA adapters into their base: a plain model that says the same.
#include <fmt/format.h>

#include "app/commands.h"
#include "app/lora_options.h"
#include "app/options.h"
#include "base/error.h"
#include "data/tokenizer.h"

namespace mpq {

int run_merge(const Args& args) {
  std::string folder, out;
  AdapterArgs adapter_args;
  CommandLine line(
      "merge",
      "mpq merge --checkpoint DIR --adapter DIR --out DIR\n\nFolds low-rank adapters that mpq or peft wrote "
      "into the checkpoint they stand beside. The folder it writes is a plain\nHugging Face model. Linears "
      "with a number format quantize the sum from then on.\n\nExample: mpq merge --checkpoint base "
      "--adapter runs/lora --out runs/merged");
  line.option("checkpoint", folder, "DIR", "the base");
  adapter_args.add_to(line);
  line.option("out", out, "DIR", "where the model goes");
  if (!line.parse(args)) return 0;
  line.require({"checkpoint", "adapter", "out"});
  check_checkpoint_target(out);

  Checkpoint checkpoint = read_checkpoint(folder);
  const auto adapter = adapter_args.read(checkpoint);
  require_head(checkpoint);
  const auto tokenizer = open_tokenizer(folder);
  line.announce();
  const auto device = open_device("cpu");
  const Bert model(checkpoint.config, adapter->plan), plain(checkpoint.config);
  const SessionOptions options{.eval_rows = 1, .max_tokens = checkpoint.max_tokens, .training = false};
  Session session(*device, model, {{.formats = checkpoint.formats, .lora = adapter->lora}}, options);
  Session merged(*device, plain, {{.formats = checkpoint.formats, .pruning = of_activations(checkpoint.pruning)}},
                 options);
  load_into(session, 0, checkpoint);
  load_adapter(session, 0, *adapter);
  merge_adapters(session, 0, merged);
  write_checkpoint(out, merged, 0, *tokenizer, {checkpoint.labels, checkpoint.max_tokens, checkpoint.truncate});
  const nlohmann::ordered_json result{{"linears", adapter->plan.linears.size()}, {"out", out}};
  line.json() ? print_json(result) : fmt::print("{} adapters are folded into {}\n", adapter->plan.linears.size(), out);
  return 0;
}

}  // namespace mpq
