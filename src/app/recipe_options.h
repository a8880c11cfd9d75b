// What every training asks of its optimizer.
#pragma once
#include "app/command_line.h"

namespace mpq {

// Into recipe.lr, warmup, decay, weight_decay, dropout and clip, which hold the defaults.
template <class Recipe>
void add_recipe(CommandLine& line, Recipe& recipe) {
  line.option("lr", recipe.lr, "RATE", "peak learning rate of AdamW", {.max = 1, .above = 0});
  line.option("warmup", recipe.warmup, "SHARE", "share of the steps that warm up linearly", {.min = 0, .max = 1});
  line.choice("decay", recipe.decay, {"linear", "constant", "cosine"}, "learning rate after the warm-up");
  line.option("weight-decay", recipe.weight_decay, "RATE", "decoupled weight decay", {.min = 0, .max = 1});
  line.option("dropout", recipe.dropout, "P", "hidden and attention dropout", {.min = 0, .below = 1});
  line.option("clip", recipe.clip, "NORM", "clip the global gradient norm; 0: do not", {.min = 0});
}

}  // namespace mpq
