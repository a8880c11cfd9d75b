#!/usr/bin/env bash
# Lab 3, task 1: every Linear chooses its own integer width from {8, 16, 32} and fraction from {2, 4, 8}; the best accuracy
# found so far against the number of trials. A fifth of the films selects; the test split only watches, to show what
# selecting on it, as the labs do, would claim. Both choices and the float control are trained again with other seeds. All
# trials start from one base, trained in float first on the films that do not select.
# Further arguments go to mpq search.
#   DATA=imdb DEVICE=cuda PRECISION=bf16 BASE=DIR experiments/lab3_task1.sh
# TRIALS (100), EPOCHS (1) of each, PARALLEL trials at once (4), SAMPLER (tpe), BASE_EPOCHS (3), BASE_LR (5e-5); the others:
# experiments/common.sh
set -euo pipefail
cd "$(dirname "$0")/.."
source experiments/common.sh
source experiments/published_lab3.sh
source experiments/trial_summary.sh

[[ -z $QUICK ]] || default ROWS=1000 TRIALS=12 EPOCHS=0.5 LR=2.5e-4 BASE_EPOCHS=8 BASE_LR=1e-3
default TRIALS=100 EPOCHS=1 PARALLEL=4 SAMPLER=tpe LR=5e-5 BASE_EPOCHS=3 BASE_LR=5e-5
begin lab3_task1 "TRIALS EPOCHS PARALLEL SAMPLER LR BASE_EPOCHS BASE_LR" "$@"

base_without_validation
search . --space lab3-task1 --mode per-layer --sampler "$SAMPLER" --parallel "$PARALLEL" --watch-test --confirm "$SEEDS" \
  --init "$base" "${recipe[@]}" --lr "$LR" "$@"
publish .

{
  base_sentence
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
