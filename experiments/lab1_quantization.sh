#!/usr/bin/env bash
# Lab 1, task 1: accuracy against the width of fixed point, post-training (PTQ) and with one more epoch (QAT), fractions
# `half` of the width and `auto`, beside float with the same extra epoch. A base a seed, trained first: from random
# weights, or from INIT. All rows train, as in the labs; nothing is selected. Further arguments go to mpq sweep.
#   DATA=imdb VOCAB=bert-base-uncased-vocab.txt DEVICE=cuda experiments/lab1_quantization.sh
#   QUICK=1 experiments/lab1_quantization.sh        # the synthetic corpus, under a minute on two cores
# SEEDS (3), EPOCHS of QAT (1), BASE_EPOCHS (1), WIDTHS, INIT (a checkpoint, e.g. of mpq pretrain), PRECISION
set -euo pipefail
cd "$(dirname "$0")/.."
source experiments/common.sh
source experiments/published.sh

name=lab1_quantization SEEDS=${SEEDS:-3} BASE_EPOCHS=${BASE_EPOCHS:-1} WIDTHS=${WIDTHS:-4,6,8,10,12,16,20,24,32}
shared=(--data "$DATA" --valid 0 --device "$DEVICE" --precision "${PRECISION:-fp32}" ${VOCAB:+--tokenizer "$VOCAB"})
base=(${INIT:+--init "$INIT"})
recipe=()
if [[ -n ${QUICK:-} ]]; then
  name+=_quick SEEDS=3 BASE_EPOCHS=4 EPOCHS=0.5 ROWS=3000 WIDTHS=4,6,8,12,16,32
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
rm -rf "$out/study.db"  # the bases are new
sweep=(./mpq sweep "${shared[@]}" "${recipe[@]}" --init "$bases/%" --epochs "$EPOCHS" ${QUICK:+--lr 2.5e-4}
  --seeds "$SEEDS" --widths "$WIDTHS" --out "$out" "$@")
start=$EPOCHREALTIME
"${sweep[@]}"
seconds=$(awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }')
provenance "$out" "${sweep[@]//$bases/BASES}"
rm -f "$out"/study.db*

{
  echo "# Lab 1, quantization: fixed point from 4 to 32 bits${QUICK:+ (quick run, synthetic corpus)}"
  echo
  awk -F'\t' -v seconds="$seconds" -v seeds="$SEEDS" -v points="$(($(wc -l <"$out/points.tsv") - 1))" '
    NR > 1 { at[$1, $2, $3] = $6; float[$1] = $2 == "none" ? $6 : float[$1] }
    function gap(mode, rule, width) {
      key = mode SUBSEP "integer(width=%,frac=" rule ")" SUBSEP width
      return key in at ? sprintf("%.4f (%+.1f points)", at[key], 100 * (at[key] - float[mode])) : "not run"
    }
    END {
      printf "%d points, %d seeds (a base of its own for each), in %s s. ", points, seeds, seconds
      printf "Float: %.4f for the bases, %.4f after the extra training that QAT has too. ", float["ptq"], float["qat"]
      printf "At 4 bits, frac = width / 2 leaves %s after training and %s without: its step of 0.25 rounds every ",
        gap("qat", "half", 4), gap("ptq", "half", 4)
      printf "weight to 0. Chosen for each tensor (auto), the same four bits keep %s with training and %s without; ",
        gap("qat", "auto", 4), gap("ptq", "auto", 4)
      printf "8 bits keep %s and %s (half: %s and %s). Points are against float with the same training. ",
        gap("qat", "auto", 8), gap("ptq", "auto", 8), gap("qat", "half", 8), gap("ptq", "half", 8)
      print "Intervals hold the spread over seeds (base, order of the rows, dropout), not the sampling error of the test rows."
    }' "$out/table.tsv"
  echo
  published_quantization
} >"$out/paragraph.md"
experiments/readme.sh
