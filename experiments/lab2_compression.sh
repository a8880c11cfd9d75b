#!/usr/bin/env bash
# Lab 2, task 2: architectures that are compressed within the trial: trained, then quantized (integers of 8 bits, 4 of
# fraction) and half of the weights pruned (l1), then evaluated; or trained for more epochs with that; beside the same search
# without compression. The labs also prune half of the activations: PRUNE_ACTIVATIONS="l1(sparsity=0.5)". Further arguments
# go to mpq search.
#   DATA=imdb DEVICE=cuda PRECISION=bf16 experiments/lab2_compression.sh
# TRIALS (20) of each of the three, EPOCHS (1) before and POST_EPOCHS (1) after the compression, SAMPLER (tpe), SELECT (test),
# PARALLEL trials a study (1), LANES: sessions side by side (0: two on a GPU); the others: experiments/common.sh
set -euo pipefail
cd "$(dirname "$0")/.."
source experiments/common.sh
source experiments/published_lab2.sh
source experiments/trial_summary.sh

[[ -z $QUICK ]] || default TRIALS=5 SEEDS=2 ROWS=1500 EPOCHS=2
default TRIALS=20 EPOCHS=1 POST_EPOCHS=1 SAMPLER=tpe SELECT=test PARALLEL=1 LANES=0 PRUNE_ACTIVATIONS=none
begin lab2_compression "TRIALS EPOCHS POST_EPOCHS SAMPLER SELECT PARALLEL PRUNE_ACTIVATIONS" "$@"
[[ -z $QUICK ]] || small_architectures

search . --space nas-compression --sampler "$SAMPLER" --post-epochs "$POST_EPOCHS" --select "$SELECT" --confirm "$SEEDS" \
  --compress "integer(width=8,frac=4)" --prune-weights "l1(sparsity=0.5)" --prune-activations "$PRUNE_ACTIVATIONS" \
  --parallel "$PARALLEL" --lanes "$LANES" "${recipe[@]}" "$@"
publish .

{
  echo "Accuracy on the $SELECT split of every trial, $TRIALS trials a study, $EPOCHS epoch(s) in float; in nas-compressed then" \
    "quantized and pruned, in nas-compressed-trained trained for $POST_EPOCHS more epoch(s) after that; $(seconds) s in all. The" \
    "uncompressed studies have no such extra training: part of what it gains is the training itself."
  echo
  trial_summary "$out"
  echo
  confirmed_studies "$out"
  echo "All seeds share the test rows, so the intervals hold the spread of training and not the test split's sampling error."
  echo
  published_compression
} | paragraph "Lab 2, compression-aware architecture search"
