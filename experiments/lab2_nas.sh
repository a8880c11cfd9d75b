#!/usr/bin/env bash
# Lab 2, task 1: architectures by grid, random search and TPE, from random weights; the best accuracy found so far against
# the number of trials, one curve a sampler. As in the labs the test split selects; SELECT=valid holds a fifth of the films
# out for that. The winners are trained again with SEEDS other seeds. Further arguments go to mpq search.
#   DATA=imdb VOCAB=bert-base-uncased-vocab.txt DEVICE=cuda PRECISION=bf16 experiments/lab2_nas.sh
#   QUICK=1 experiments/lab2_nas.sh        # the synthetic corpus and a small space, under a minute on two cores
# TRIALS (100) of each sampler, EPOCHS (1) of each trial, SEEDS (3), SAMPLERS, SELECT
set -euo pipefail
cd "$(dirname "$0")/.."
source experiments/common.sh
source experiments/published_lab2.sh
source experiments/trial_summary.sh

name=lab2_nas TRIALS=${TRIALS:-100} SEEDS=${SEEDS:-3} SAMPLERS=${SAMPLERS:-grid,random,tpe} SELECT=${SELECT:-test}
options=(--precision "${PRECISION:-fp32}" ${VOCAB:+--tokenizer "$VOCAB"})
if [[ -n ${QUICK:-} ]]; then
  name+=_quick TRIALS=12 SEEDS=2 ROWS=2000 EPOCHS=2
  options+=(--model 2,32,2,64 --layers 1,2 --heads 2,4 --hidden 32,64 --ffn 64,128 --batch 16 --lr 2e-3 --dropout 0
    --max-tokens 64)
fi
out=$RESULTS/$name
start=$EPOCHREALTIME
search "$name" --space nas --sampler "$SAMPLERS" --select "$SELECT" --confirm "$SEEDS" "${options[@]}" "$@"
seconds=$(awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.0f", b - a }')

{
  echo "# Lab 2, architecture search: grid, random, TPE${QUICK:+ (quick run, synthetic corpus)}"
  echo
  echo "Accuracy on the $SELECT split of every trial, $TRIALS trials a sampler at most, $EPOCHS epoch(s) each, from random" \
    "weights; $seconds s in all. The control is the model of --model with the same training."
  echo
  trial_summary "$out"
  echo
  [[ $SELECT != test ]] || echo "The best of many trials on the test split is optimistic; seeds that selected nothing are not:"
  tail -n +2 "$out/summary.tsv" | cut -f 1 | while read -r study; do confirmed "$study" "$out"; done
  echo "All seeds share the test rows, so the intervals hold the spread of training and not the test split's sampling error."
  echo
  published_nas
} >"$out/paragraph.md"
[[ ! -x experiments/readme.sh ]] || experiments/readme.sh
