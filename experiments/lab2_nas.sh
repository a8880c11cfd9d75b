#!/usr/bin/env bash
# Lab 2, task 1: architectures by grid, random search and TPE, from random weights; the best accuracy found so far against
# the number of trials, one curve a sampler. As in the labs the test split selects; SELECT=valid holds a fifth of the films
# out for that. The winners are trained again with other seeds. Further arguments go to mpq search.
#   DATA=imdb DEVICE=cuda PRECISION=bf16 experiments/lab2_nas.sh
# TRIALS (100) of each sampler, EPOCHS (1) of each trial, SAMPLERS (grid,random,tpe), SELECT (test), PARALLEL trials a study
# (1), LANES: sessions side by side (0: two on a GPU); the others: experiments/common.sh
set -euo pipefail
cd "$(dirname "$0")/.."
source experiments/common.sh
source experiments/published_lab2.sh
source experiments/trial_summary.sh

[[ -z $QUICK ]] || default TRIALS=8 SEEDS=2 ROWS=1500 EPOCHS=2
default TRIALS=100 EPOCHS=1 SAMPLERS=grid,random,tpe SELECT=test PARALLEL=1 LANES=0
begin lab2_nas "TRIALS EPOCHS SAMPLERS SELECT PARALLEL" "$@"
[[ -z $QUICK ]] || small_architectures

search . --space nas --sampler "$SAMPLERS" --select "$SELECT" --confirm "$SEEDS" --parallel "$PARALLEL" --lanes "$LANES" \
  "${recipe[@]}" "$@"
publish .

{
  echo "Accuracy on the $SELECT split of every trial, $TRIALS trials a sampler at most, $EPOCHS epoch(s) each, from random" \
    "weights; $(seconds) s in all. The control is the model of --model with the same training."
  echo
  trial_summary "$out"
  echo
  [[ $SELECT != test ]] || echo "The best of many trials on the test split is optimistic; seeds that selected nothing are not:"
  confirmed_studies "$out"
  echo "All seeds share the test rows, so the intervals hold the spread of training and not the test split's sampling error."
  echo
  published_nas
} | paragraph "Lab 2, architecture search: ${SAMPLERS//,/, }"
