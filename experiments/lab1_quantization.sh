#!/usr/bin/env bash
# Lab 1, task 1: accuracy against the width of fixed point, post-training (PTQ) and with one more epoch (QAT), fractions
# `half` of the width and `auto`, beside float with the same extra epoch. A base a seed, trained first. All rows train, as
# in the labs; nothing is selected. Further arguments go to mpq sweep.
#   DATA=imdb DEVICE=cuda experiments/lab1_quantization.sh
# EPOCHS of QAT (1), BASE_EPOCHS (3), BASE_LR (5e-5), WIDTHS; the others: experiments/common.sh
set -euo pipefail
cd "$(dirname "$0")/.."
source experiments/common.sh
source experiments/published.sh

[[ -z $QUICK ]] || default ROWS=2000 EPOCHS=0.5 BASE_EPOCHS=4 BASE_LR=1e-3 LR=2.5e-4 WIDTHS=4,8,16,32
default EPOCHS=1 BASE_EPOCHS=3 BASE_LR=5e-5 LR=5e-5 WIDTHS=4,6,8,10,12,16,20,24,32
begin lab1_quantization "EPOCHS LR BASE_EPOCHS BASE_LR WIDTHS" "$@"

bases
./mpq sweep "${data[@]}" "${recipe[@]}" --valid 0 --init "$bases" --epochs "$EPOCHS" --lr "$LR" --seeds "$SEEDS" \
  --widths "$WIDTHS" --out "$work" "$@"
publish .

{
  awk -F'\t' -v seconds="$(seconds)" -v seeds="$SEEDS" -v points="$(($(wc -l <"$out/points.tsv") - 1))" '
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
      print "Intervals hold the spread over seeds (of the bases, which share the order of the rows, then order and dropout),",
        "not the sampling error of the test rows."
    }' "$out/table.tsv"
  echo
  published_quantization
} | paragraph "Lab 1, quantization: fixed point from 4 to 32 bits"
