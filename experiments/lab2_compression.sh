#!/usr/bin/env bash
# Lab 2, task 2: architectures that are compressed within the trial: trained, then quantized (integers of 8 bits, 4 of
# fraction) and half of the weights pruned (l1), then evaluated; or trained for more epochs with that; beside the same search
# without compression. The labs also prune half of the activations: PRUNE_ACTIVATIONS="l1(sparsity=0.5)".
#   DATA=imdb VOCAB=bert-base-uncased-vocab.txt DEVICE=cuda PRECISION=bf16 experiments/lab2_compression.sh
#   QUICK=1 experiments/lab2_compression.sh        # the synthetic corpus and a small space, under a minute on two cores
# TRIALS (20) of each of the three, EPOCHS (1) before and POST_EPOCHS (1) after the compression, SEEDS (3), SAMPLER, SELECT
set -euo pipefail
cd "$(dirname "$0")/.."
source experiments/common.sh
source experiments/published_lab2.sh
source experiments/trial_summary.sh

name=lab2_compression TRIALS=${TRIALS:-20} SEEDS=${SEEDS:-3} SAMPLER=${SAMPLER:-tpe} SELECT=${SELECT:-test}
POST_EPOCHS=${POST_EPOCHS:-1}
options=(--precision "${PRECISION:-fp32}" ${VOCAB:+--tokenizer "$VOCAB"} --compress "integer(width=8,frac=4)"
  --prune-weights "l1(sparsity=0.5)" --prune-activations "${PRUNE_ACTIVATIONS:-none}")
if [[ -n ${QUICK:-} ]]; then
  name+=_quick TRIALS=8 SEEDS=2 ROWS=2000 EPOCHS=2
  options+=(--model 2,32,2,64 --layers 1,2 --heads 2,4 --hidden 32,64 --ffn 64,128 --batch 16 --lr 2e-3 --dropout 0
    --max-tokens 64)
fi
out=$RESULTS/$name
start=$EPOCHREALTIME
search "$name" --space nas-compression --sampler "$SAMPLER" --post-epochs "$POST_EPOCHS" --select "$SELECT" \
  --confirm "$SEEDS" "${options[@]}" "$@"
seconds=$(awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.0f", b - a }')

{
  echo "# Lab 2, compression-aware architecture search${QUICK:+ (quick run, synthetic corpus)}"
  echo
  echo "Accuracy on the $SELECT split of every trial, $TRIALS trials a study, $EPOCHS epoch(s) in float; in nas-compressed then" \
    "quantized and pruned, in nas-compressed-trained trained for $POST_EPOCHS more epoch(s) after that; $seconds s in all. The" \
    "uncompressed studies have no such extra training: part of what it gains is the training itself."
  echo
  trial_summary "$out"
  echo
  tail -n +2 "$out/summary.tsv" | cut -f 1 | while read -r study; do confirmed "$study" "$out"; done
  echo "All seeds share the test rows, so the intervals hold the spread of training and not the test split's sampling error."
  echo
  published_compression
} >"$out/paragraph.md"
[[ ! -x experiments/readme.sh ]] || experiments/readme.sh
