#!/usr/bin/env bash
# Lab 1, task 2: accuracy against sparsity, weights and activations of all Linears pruned by l1 and at random, as pruned
# and after fine-tuning, beside the dense model with the same extra epochs. A base a seed, trained first: from random
# weights, or from INIT. All rows train, as in the labs; nothing is selected. Further arguments go to mpq prune.
#   DATA=imdb VOCAB=bert-base-uncased-vocab.txt DEVICE=cuda PRECISION=bf16 experiments/lab1_pruning.sh
#   QUICK=1 experiments/lab1_pruning.sh        # the synthetic corpus, under a minute on two cores
# SEEDS (3), EPOCHS of fine-tuning (5), BASE_EPOCHS (3), SPARSITIES (0.1:0.9:0.1), INIT (a checkpoint), PRECISION
set -euo pipefail
cd "$(dirname "$0")/.."
[[ -z ${QUICK:-} ]] || DATA=synthetic
EPOCHS=${EPOCHS:-5}
source experiments/common.sh
source experiments/published_pruning.sh

name=lab1_pruning SEEDS=${SEEDS:-3} BASE_EPOCHS=${BASE_EPOCHS:-3} SPARSITIES=${SPARSITIES:-0.1:0.9:0.1}
shared=(--data "$DATA" --valid 0 --device "$DEVICE" --precision "${PRECISION:-fp32}" ${VOCAB:+--tokenizer "$VOCAB"})
base=(${INIT:+--init "$INIT"})
recipe=()
if [[ -n ${QUICK:-} ]]; then
  name+=_quick SEEDS=3 BASE_EPOCHS=4 EPOCHS=0.5 ROWS=3000 SPARSITIES=0.1,0.3,0.5,0.7,0.9
  base+=(--model 2,64,2,128)
  recipe=(--batch 16 --dropout 0)
  shared+=(--max-tokens 64)
fi
shared+=(${ROWS:+--rows "$ROWS"})
out=$RESULTS/$name
bases=$(mktemp -d)
trap 'rm -rf "$bases"' EXIT

for ((seed = 42; seed < 42 + SEEDS; ++seed)); do
  ./mpq train "${shared[@]}" "${base[@]}" "${recipe[@]}" --epochs "$BASE_EPOCHS" ${QUICK:+--lr 1e-3} --seed "$seed" \
    --out "$bases/$seed" >/dev/null
done
rm -rf "$out"/study.db* "$out/running"  # the bases are new
prune=(./mpq prune "${shared[@]}" "${recipe[@]}" --init "$bases/%" --epochs "$EPOCHS" ${QUICK:+--lr 2.5e-4}
  --seeds "$SEEDS" --sparsity "$SPARSITIES" --method l1,random --weights --activations --out "$out" "$@")
start=$EPOCHREALTIME
"${prune[@]}"
seconds=$(awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }')
provenance "$out" "${prune[@]//$bases/BASES}"
rm -rf "$out"/study.db* "$out/running"

{
  echo "# Lab 1, pruning: weights and activations by l1 and at random${QUICK:+ (quick run, synthetic corpus)}"
  echo
  awk -F'\t' -v seconds="$seconds" -v seeds="$SEEDS" -v epochs="$EPOCHS" -v points="$(($(wc -l <"$out/points.tsv") - 1))" '
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
        "seeds (base, order of the rows, dropout, masks), not the sampling error of the test rows."
    }' "$out/table.tsv"
  echo
  published_pruning
} >"$out/paragraph.md"
[[ ! -x experiments/readme.sh ]] || experiments/readme.sh
