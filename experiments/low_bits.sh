#!/usr/bin/env bash
# What keeps low bits alive: every family with its first choice in every layer, trained on from a base (QAT), plainly, with
# the first half of the steps in float, and with a teacher (the base itself, or TEACHER); and 2, 3 and 4 bits of fixed
# point with calibrated fractions. Further arguments go to mpq sweep.
#   DATA=imdb VOCAB=bert-base-uncased-vocab.txt DEVICE=cuda experiments/low_bits.sh
#   QUICK=1 experiments/low_bits.sh
# SEEDS (3), EPOCHS (1), BASE_EPOCHS (1), INIT (a checkpoint that the base starts from), TEACHER, PRECISION
set -euo pipefail
cd "$(dirname "$0")/.."
source experiments/common.sh

name=low_bits SEEDS=${SEEDS:-3} BASE_EPOCHS=${BASE_EPOCHS:-1}
shared=(--data "$DATA" --valid 0 --device "$DEVICE" --precision "${PRECISION:-fp32}" ${VOCAB:+--tokenizer "$VOCAB"})
base=(${INIT:+--init "$INIT"})
recipe=()
if [[ -n ${QUICK:-} ]]; then
  name+=_quick SEEDS=2 BASE_EPOCHS=4 EPOCHS=0.5 ROWS=1500
  base+=(--model 2,64,2,128)
  recipe=(--batch 16 --dropout 0)
  shared+=(--max-tokens 64)
fi
shared+=(${ROWS:+--rows "$ROWS"})
out=$RESULTS/$name
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"

./mpq train "${shared[@]}" "${base[@]}" "${recipe[@]}" --epochs "$BASE_EPOCHS" ${QUICK:+--lr 1e-3} --out "$work/base" \
  >/dev/null
sweep=(./mpq sweep "${shared[@]}" "${recipe[@]}" --init "$work/base" --mode qat --family all
  --format "integer(width=%,frac=auto)" --widths 2,3,4 --epochs "$EPOCHS" ${QUICK:+--lr 2.5e-4} --seeds "$SEEDS" "$@")
"${sweep[@]}" --out "$work/plain"
"${sweep[@]}" --out "$work/float_first" --quantize-after 0.5
"${sweep[@]}" --out "$work/teacher" --teacher "${TEACHER:-$work/base}" --labelled-only
provenance "$out" "${sweep[@]//$work/BASES}"
for run in plain float_first teacher; do
  cp "$work/$run/table.tsv" "$out/$run.tsv"
  for ending in svg png; do cp "$work/$run/accuracy_by_width.$ending" "$out/$run.$ending"; done
done

{
  echo "# What keeps low bits alive${QUICK:+ (quick run, synthetic corpus)}"
  echo
  echo "Test accuracy after $EPOCHS epoch(s) of QAT from one base, mean over $SEEDS seeds: plainly; with the first half of the"
  echo "steps in float (\`--quantize-after 0.5\`); with the base as teacher of half of every target (\`--teacher\`)."
  echo
  echo "| format | bits/weight | plain | float first | teacher |"
  echo "|---|--:|--:|--:|--:|"
  join_tables() { awk -F'\t' 'FNR == 1 { ++file; next } { key = $2 " " $3; if (file == 1) { order[++n] = key; bits[key] = $4; name[key] = $2; gsub(/%/, $3, name[key]) } at[file, key] = $6 }
    END { for (i = 1; i <= n; ++i) { k = order[i]; printf "| %s | %s | %s | %s | %s |\n", name[k], bits[k], at[1, k], at[2, k], at[3, k] } }' "$@"; }
  join_tables "$out/plain.tsv" "$out/float_first.tsv" "$out/teacher.tsv"
} >"$out/paragraph.md"
experiments/readme.sh
