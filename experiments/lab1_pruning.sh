#!/usr/bin/env bash
# Lab 1, task 2: accuracy against sparsity, weights and activations of all Linears pruned by l1 and at random, as pruned
# and after fine-tuning, beside the dense model with the same extra epochs. A base a seed, trained first. All rows train,
# as in the labs; nothing is selected. Further arguments go to mpq prune.
#   DATA=imdb DEVICE=cuda PRECISION=bf16 experiments/lab1_pruning.sh
# EPOCHS of fine-tuning (5), BASE_EPOCHS (3), BASE_LR (5e-5), SPARSITIES (0.1:0.9:0.1); the others: experiments/common.sh
set -euo pipefail
cd "$(dirname "$0")/.."
source experiments/common.sh
source experiments/published_pruning.sh

[[ -z $QUICK ]] || default ROWS=2000 EPOCHS=0.5 BASE_EPOCHS=4 BASE_LR=1e-3 LR=2.5e-4 SPARSITIES=0.1,0.5,0.9
default EPOCHS=5 BASE_EPOCHS=3 BASE_LR=5e-5 LR=5e-5 SPARSITIES=0.1:0.9:0.1
begin lab1_pruning "EPOCHS LR BASE_EPOCHS BASE_LR SPARSITIES" "$@"

bases
./mpq prune "${data[@]}" "${recipe[@]}" --valid 0 --init "$bases" --epochs "$EPOCHS" --lr "$LR" --seeds "$SEEDS" \
  --sparsity "$SPARSITIES" --method l1,random --weights --activations --out "$work" "$@"
publish .

{
  awk -F'\t' -v seconds="$(seconds)" -v seeds="$SEEDS" -v epochs="$EPOCHS" -v points="$(($(wc -l <"$out/points.tsv") - 1))" '
    NR > 1 { pruned[$1, $2] = $4; tuned[$1, $2] = $7; if ($1 != "dense") last = $2 }
    function at(method, sparsity) {
      if (!((method, sparsity) in tuned)) return "not run"
      return sprintf("%.4f as pruned, %.4f after fine-tuning (%+.1f points)", pruned[method, sparsity],
                     tuned[method, sparsity], 100 * (tuned[method, sparsity] - tuned["dense", "0"]))
    }
    END {
      printf "%d points, %d seeds (a base of its own for each), in %s s. ", points, seeds, seconds
      printf "Dense: %.4f for the bases, %.4f after the same %s extra epoch(s). ", pruned["dense", "0"],
        tuned["dense", "0"], epochs
      printf "Half of the weights and activations pruned by l1: %s; at random: %s. ", at("l1", "0.5"), at("random", "0.5")
      printf "At %s, l1: %s; random: %s. ", last, at("l1", last), at("random", last)
      print "Points are against the dense control. Thresholds of activations are taken a token, so that no review depends",
        "on its batch; random ones are drawn anew in every forward, in evaluation too. Intervals hold the spread over",
        "seeds (of the bases, which share the order of the rows, then order, dropout and masks), not the sampling error",
        "of the test rows."
    }' "$out/table.tsv"
  echo
  published_pruning
} | paragraph "Lab 1, pruning: weights and activations by l1 and at random"
