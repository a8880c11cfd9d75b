#!/usr/bin/env bash
# What keeps low bits alive: every family with its first choice in every layer, trained on from a base (QAT), plainly, with
# the first half of the steps in float, and with a teacher (the first base itself, or TEACHER); 2, 3 and 4 bits of fixed
# point with calibrated fractions; and binary and binary_residual with a scale for the signs of weights (binary_scaled's:
# mean |w|, by which the base's sums are smaller). Further arguments go to mpq sweep.
#   DATA=imdb DEVICE=cuda experiments/low_bits.sh
# EPOCHS (1), BASE_EPOCHS (3), BASE_LR (5e-5), FAMILIES (all), TEACHER; the others: experiments/common.sh
set -euo pipefail
cd "$(dirname "$0")/.."
source experiments/common.sh

[[ -z $QUICK ]] || default ROWS=1000 SEEDS=2 EPOCHS=0.5 BASE_EPOCHS=4 BASE_LR=1e-3 LR=2.5e-4 \
  FAMILIES=integer,block_fp,binary,binary_scaled,ternary,binary_scaling
default EPOCHS=1 BASE_EPOCHS=3 BASE_LR=5e-5 LR=5e-5 FAMILIES=all TEACHER=
begin low_bits "EPOCHS LR BASE_EPOCHS BASE_LR FAMILIES TEACHER" "$@"

bases
sweep() {
  ./mpq sweep "${data[@]}" "${recipe[@]}" --valid 0 --init "$bases" --mode qat --family "$FAMILIES" \
    --format "integer(width=%,frac=auto)" --format "x=binary_residual(levels=%);w=binary_scaled(per=row);b=none" \
    --format "x=binary();w=binary_scaled(per=row);b=none" --widths 2,3,4 --epochs "$EPOCHS" --lr "$LR" --seeds "$SEEDS" \
    --out "$work/$1" "${@:2}"
}
sweep plain "$@"
sweep float_first --quantize-after 0.5 "$@"
sweep teacher --teacher "${TEACHER:-${bases%\%}42}" --labelled-only "$@"

# A point a way of training and format, which is named by its family and its bits a weight; float with the same training
# is the control.
for way in plain float_first teacher; do
  awk -F'\t' -v way="${way/_/ }" 'NR == 1 { next }
    function family_of(operand) {
      if (!match($2, "(^|;)" operand "=")) return ""
      operand = substr($2, RSTART + RLENGTH)
      sub(/[(;].*/, "", operand)
      return operand
    }
    { x = family_of("x"); family = family_of("w"); test = $7
      if (family == "") { family = $2; sub(/\(.*/, "", family) }
      else if (x != family && x != "none") family = x ($3 > 0 ? " " $3 : "") "+" family
      print ($2 == "none" && way == "plain" ? "float, same training" : way) "\t" family sprintf(" %.2f", $5) "\t" test }' \
    "$work/$way/points.tsv"
done | { printf 'training\tformat\ttest accuracy\n'; cat; } >"$work/runs.tsv"
mkdir -p "$work/figures"
./mpq plot --in "$work/runs.tsv" --curve training --x format --y "test accuracy" --control "float, same training" \
  --title "What keeps low bits alive: mean and 95 % interval over $SEEDS seeds" --x-title "family and bits a weight" \
  --out "$work/figures/low_bits" >/dev/null
publish figures
cp "$work/runs.tsv" "$out"

join_tables() {
  awk -F'\t' 'FNR == 1 { ++file; next }
    { key = $2 " " $3; at[file, key] = sprintf("%s (%s to %s)", $6, $7, $8)
      if (file == 1) { order[++n] = key; bits[key] = $4; name[key] = $2; gsub(/%/, $3, name[key]) } }
    END { for (i = 1; i <= n; ++i) { k = order[i]; printf "| %s | %s | %s | %s | %s |\n", name[k], bits[k], at[1, k], at[2, k], at[3, k] } }' "$@"
}
{
  echo "Test accuracy after $EPOCHS epoch(s) of QAT, a base of its own for each of $SEEDS seeds, mean and 95 % interval: plainly; with"
  echo "the first half of the steps in float (\`--quantize-after 0.5\`); with the first base as teacher of half of every target"
  echo "(\`--teacher\`). $(seconds) s in all."
  echo
  echo "| format | bits/weight | plain | float first | teacher |"
  echo "|---|--:|--:|--:|--:|"
  join_tables "$work"/{plain,float_first,teacher}/table.tsv
} | paragraph "What keeps low bits alive"
