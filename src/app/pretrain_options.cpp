#include "app/pretrain_options.h"

#include <cmath>

#include "app/recipe_options.h"
#include "base/error.h"

namespace mpq {

void PretrainOptions::add_to(CommandLine& line) {
  line.group("Data");
  line.option("data", corpus.data, "synthetic|imdb|PATH",
              "the training and unlabelled texts of a data set (as in mpq train), or plain text: a .txt file, whose "
              "texts are separated by empty lines (or are its lines), or a folder of such files");
  line.flag("with-test", corpus.test, "read the texts of the test split too");
  line.option("tokenizer", corpus.tokenizer, "FILE|sentencepiece:N", "as in mpq train; with --init the checkpoint's");
  line.option("text-column", corpus.text_column, "NAME|POSITION", "the column that holds the text");
  line.option("held-out", corpus.held_out, "SHARE", "of the texts, never trained on, to measure the loss on",
              {.min = 0, .below = 1});
  line.option("rows", corpus.rows, "N", "use only this many texts; 0: all", {.min = 0});
  line.group("Masks and sequences");
  line.option("mask", plan.masks.share, "SHARE", "of a sequence's tokens that are to be found again",
              {.max = 0.9, .above = 0});
  line.flag("whole-word", plan.masks.whole_words, "mask all tokens of a word together");
  line.option("sequence", plan.sequence, "N", "tokens of a sequence, at first", {.min = 3, .max = 65536});
  line.option("long-sequence", plan.long_sequence, "N", "tokens of a sequence, at the end", {.min = 3, .max = 65536});
  line.option("long-share", plan.long_share, "SHARE", "of the epochs on long sequences", {.min = 0, .max = 1});
  line.option("batch", plan.batch, "N", "sequences a step; of long ones as many fewer as they are longer",
              {.min = 1, .max = 1 << 20});
  line.group("Training");
  line.option("model", model, "NAME|L,H,A,F",
              "tiny, mini, small, medium, base, or layers,hidden,heads,ffn; random weights unless --init");
  line.option("init", init, "DIR", "start from this checkpoint, a masked language model or a classifier");
  line.option("epochs", plan.epochs, "N", "passes over the texts; 0: only measure", {.min = 0, .max = 1e6});
  add_recipe(line, *this);
  line.option("seed", seed, "N", "seeds initialisation, masks, order and dropout", {.max = 4294967295.0});
  line.option("checkpoint-every", checkpoint_every, "STEPS", "write a resumable checkpoint; 0: at the end only",
              {.min = 0});
  machine.add_to(line);
  line.group("Run");
  line.option("out", out, "DIR", "where the model goes");
  line.option("figure", figure, "DIR", "draw the loss over the tokens seen there");
  line.flag("resume", resume, "continue the unfinished run in --out, bit for bit");
}

void PretrainOptions::settle() {
  if (plan.long_share > 0 && plan.long_sequence < plan.sequence)
    throw UserError(fmt::format("--long-sequence {} is shorter than --sequence {}", plan.long_sequence, plan.sequence),
                    "--long-share 0 leaves the long sequences out");
  plan.data_seed = plan.masks.seed = seed;
  plan.stop_every = checkpoint_every;
}

Schedule PretrainOptions::schedule(int64_t steps) const {
  return {.learning_rate = lr,
          .weight_decay = weight_decay,
          .warmup_steps = static_cast<int64_t>(std::ceil(warmup * static_cast<double>(steps))),
          .steps = steps,
          .decay = parse_decay(decay)};
}

std::string PretrainOptions::recipe() const {
  return fmt::format(
      "mask {} {} sequence {} {} {} batch {} epochs {} lr {} warmup {} decay {} wd {} dropout {} clip {} seed {}{}",
      plan.masks.share, plan.masks.whole_words, plan.sequence, plan.long_sequence, plan.long_share, plan.batch,
      plan.epochs, lr, warmup, decay, weight_decay, dropout, clip, seed, machine.precision_in_recipe());
}

}  // namespace mpq
