#!/usr/bin/env bash
# mpq beside PyTorch in one run: bert-tiny, batch 8, real review lengths, training and evaluation, reviews a second; on a GPU also
# training of bert-base, batch 32. The two take turns and the best round of each counts, so that a busy moment hurts neither. Then
# every family's quantization-aware step beside the float step. Appends to experiments/results/speed.tsv.
#   LENGTHS=imdb_lengths.txt [ROUNDS=3] [THREADS=2] [DEVICE=cuda] [PRECISION=fp32] [PYTHON=python3] experiments/speed.sh
# LENGTHS holds one token count a line. From your own texts, one a line:
#   ./mpq tokenize --tokenizer vocab.txt --in reviews.txt | awk '{ print NF }' >lengths.txt
# PYTHON must have torch, transformers and accelerate: pip install -r experiments/peer/requirements.txt
set -euo pipefail
cd "$(dirname "$0")/.."
source experiments/common.sh
LENGTHS=${LENGTHS:?set LENGTHS to a file with one token count a line}
ROUNDS=${ROUNDS:-3} THREADS=${THREADS:-$(nproc)} PYTHON=${PYTHON:-python3} PRECISION=${PRECISION:-fp32}
ways=trainer,eager steps=64
[[ $DEVICE == cpu ]] || ways=trainer,graph steps=300
base=(--model base --batch 32)

# best KEY: the largest value of "KEY" among JSON lines.
best() { grep -oE "\"$1\": *[0-9.]+" | sed 's/.*: *//' | sort -g | tail -n 1; }

bench() { ./mpq bench "$@" --lengths "$LENGTHS" --threads "$THREADS" --device "$DEVICE" --precision "$PRECISION" --json; }
peer() { "$PYTHON" experiments/peer/torch_bert.py --lengths "$LENGTHS" --threads "$THREADS" --device "$DEVICE" "$@"; }

rounds=$(mktemp -d)
trap 'rm -rf "$rounds"' EXIT
for ((round = 1; round <= ROUNDS; ++round)); do
  echo "round $round of $ROUNDS" >&2
  bench train eval >>"$rounds/mpq"
  peer --ways "$ways" --steps "$steps" >>"$rounds/peer"
  [[ $DEVICE == cpu ]] && continue
  bench train "${base[@]}" >>"$rounds/mpq_base"
  peer --ways graph --steps 100 "${base[@]}" >>"$rounds/peer_base"
done
table=$RESULTS/speed.tsv
mkdir -p "$RESULTS"
[[ -s $table ]] || printf 'date\tcommit\twhat\tbefore\tafter\tratio\tdevice\n' >"$table"
device="$(./mpq info | sed -n 's/^ *processor *//p'), $THREADS threads"
[[ $DEVICE == cpu ]] || device="$(nvidia-smi --query-gpu=name --format=csv,noheader | head -n 1), $PRECISION"

# record WHAT BEFORE AFTER: a line of the table, with after / before.
record() {
  printf '%s\t%s\t%s\t%.6g\t%.6g\t%s\t%s\n' "$(date -u +%F)" "$(commit)" "$1" "$2" "$3" \
    "$(awk -v before="$2" -v after="$3" 'BEGIN { printf "%.2f", after / before }')" "$device" | tee -a "$table"
}

for way in ${ways//,/ }; do
  for job in train eval; do
    grep -q "\"way\": \"$way\", \"job\": \"$job\"" "$rounds/peer" || continue
    record "bert-tiny $job, batch 8, reviews/s (before: PyTorch $way)" \
      "$(grep "\"way\": \"$way\", \"job\": \"$job\"" "$rounds/peer" | best reviews_per_s)" "$(best "${job}_rows_per_s" <"$rounds/mpq")"
  done
done
if [[ $DEVICE != cpu ]]; then
  record "bert-base train, batch 32, reviews/s (before: PyTorch graph)" "$(best reviews_per_s <"$rounds/peer_base")" \
    "$(best train_rows_per_s <"$rounds/mpq_base")"
fi
echo "quantization-aware steps" >&2
bench qat >"$rounds/qat"
"$PYTHON" -c '
import json, sys
for row in json.loads(open(sys.argv[1]).readlines()[-1])["qat"]:
    print(row["family"], row["float_ms"], row["family_ms"], sep="\t")' "$rounds/qat" |
  while IFS=$'\t' read -r family float quantized; do
    record "bert-tiny quantization-aware step, $family, ms (before: float)" "$float" "$quantized"
  done
