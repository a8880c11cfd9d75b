#!/usr/bin/env bash
# Lab 3, task 2: one curve a number format, best accuracy found so far against the number of trials, beside float. Both ways:
# every layer takes the family (all-layers), and each layer chooses among the family's choices or full precision
# (per-layer). A fifth of the films selects; the test split only watches, to show what selecting on it would claim. Winners
# and control are trained again with other seeds. All trials start from one base, trained in float first on the films that
# do not select. Further arguments go to mpq search.
#   DATA=imdb DEVICE=cuda PRECISION=bf16 BASE=DIR experiments/lab3_task2.sh
# TRIALS of each family (10), EPOCHS (1) of each, PARALLEL trials of a family at once (4), FAMILIES (all), MODES, BASE_EPOCHS
# (3), BASE_LR (5e-5); the others: experiments/common.sh
set -euo pipefail
cd "$(dirname "$0")/.."
source experiments/common.sh
source experiments/published_lab3.sh
source experiments/trial_summary.sh

[[ -z $QUICK ]] || default ROWS=600 TRIALS=3 SEEDS=2 EPOCHS=0.5 LR=2.5e-4 BASE_EPOCHS=8 BASE_LR=1e-3 \
  FAMILIES=integer,log,block_fp,mxfp,binary_scaled
default TRIALS=10 EPOCHS=1 PARALLEL=4 FAMILIES=all MODES=all-layers,per-layer LR=5e-5 BASE_EPOCHS=3 BASE_LR=5e-5
begin lab3_task2 "TRIALS EPOCHS PARALLEL FAMILIES MODES LR BASE_EPOCHS BASE_LR" "$@"

base_without_validation
for mode in ${MODES//,/ }; do
  search "$mode" --family "$FAMILIES" --mode "$mode" --parallel "$PARALLEL" --watch-test --confirm "$SEEDS" --init "$base" \
    "${recipe[@]}" --lr "$LR" "$@"
  publish "$mode" "$mode"
done

{
  base_sentence
  echo "$TRIALS trials a family at most, of $EPOCHS epoch(s), TPE. The validation split selects; test is read for the winners, their" \
    "other seeds, and to show what selecting on it would claim. $(seconds) s in all."
  for mode in ${MODES//,/ }; do
    printf '\n### %s\n\n' "$mode"
    cat "$out/$mode/table.md"
    echo
    selection_flaw "$out/$mode" | tail -n 1
  done
  echo
  published_task2
} | paragraph "Lab 3, task 2: one curve a number format"
