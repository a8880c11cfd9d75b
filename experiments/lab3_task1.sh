#!/usr/bin/env bash
# Lab 3, task 1: every Linear chooses its own integer width from {8, 16, 32} and fraction from {2, 4, 8}; the best accuracy
# found so far against the number of trials. A fifth of the films selects; the test split only watches, to show what
# selecting on it, as the labs do, would claim. Both choices and the float control are trained again with other seeds.
# Further arguments go to mpq search.
#   DATA=imdb DEVICE=cuda PRECISION=bf16 BASE=DIR experiments/lab3_task1.sh
# TRIALS (100), EPOCHS (1) of each, PARALLEL trials at once (4), SAMPLER (tpe); the others: experiments/common.sh
set -euo pipefail
cd "$(dirname "$0")/.."
source experiments/common.sh
source experiments/published_lab3.sh
source experiments/trial_summary.sh

[[ -z $QUICK ]] || default ROWS=1000 TRIALS=12 EPOCHS=0.5 LR=2.5e-4
default TRIALS=100 EPOCHS=1 PARALLEL=4 SAMPLER=tpe LR=5e-5
begin lab3_task1 "TRIALS EPOCHS PARALLEL SAMPLER LR" "$@"

search . --space lab3-task1 --mode per-layer --sampler "$SAMPLER" --parallel "$PARALLEL" --watch-test --confirm "$SEEDS" \
  "${start[@]}" "${recipe[@]}" --lr "$LR" "$@"
publish .

{
  echo "$TRIALS trials of $EPOCHS epoch(s), $SAMPLER, $PARALLEL at a time; every Linear has a width and a fraction of its own. Accuracy on" \
    "the validation split, which selects; $(seconds) s in all."
  echo
  trial_summary "$out"
  echo
  confirmed_studies "$out"
  selection_flaw "$out"
  echo
  published_task1
} | paragraph "Lab 3, task 1: an integer width and fraction for each layer"
