#!/usr/bin/env bash
# mpq beside PyTorch in one run: bert-tiny, batch 8, real review lengths, training and evaluation, reviews a second. The two take
# turns and the best round of each counts, so that a busy moment hurts neither. Appends to experiments/results/speed.tsv.
#   LENGTHS=imdb_lengths.txt [ROUNDS=3] [THREADS=2] [PYTHON=python3] experiments/speed.sh
# LENGTHS holds one token count a line. From your own texts, one a line:
#   ./mpq tokenize --tokenizer vocab.txt --in reviews.txt | awk '{ print NF }' >lengths.txt
# PYTHON must have torch, transformers and accelerate: pip install -r experiments/peer/requirements.txt
set -euo pipefail
cd "$(dirname "$0")/.."
source experiments/common.sh
LENGTHS=${LENGTHS:?set LENGTHS to a file with one token count a line}
ROUNDS=${ROUNDS:-3} THREADS=${THREADS:-$(nproc)} PYTHON=${PYTHON:-python3}

# best KEY: the largest value of "KEY" among JSON lines.
best() { grep -oE "\"$1\": *[0-9.]+" | sed 's/.*: *//' | sort -g | tail -n 1; }

rounds=$(mktemp -d)
trap 'rm -rf "$rounds"' EXIT
for ((round = 1; round <= ROUNDS; ++round)); do
  echo "round $round of $ROUNDS" >&2
  for job in train eval; do
    ./mpq bench "$job" --lengths "$LENGTHS" --threads "$THREADS" --device "$DEVICE" --json >>"$rounds/mpq_$job"
  done
  "$PYTHON" experiments/peer/torch_bert.py --lengths "$LENGTHS" --threads "$THREADS" --device "$DEVICE" >>"$rounds/peer"
done

table=$RESULTS/speed.tsv
mkdir -p "$RESULTS"
[[ -s $table ]] || printf 'date\tcommit\twhat\tbefore\tafter\tdevice\n' >"$table"
device="$(./mpq info | sed -n 's/^ *processor *//p'), $THREADS threads"
[[ $DEVICE == cpu ]] || device="$DEVICE of $(nvidia-smi --query-gpu=name --format=csv,noheader | head -n 1)"
for way in trainer eager; do
  for job in train eval; do
    peer=$(grep "\"way\": \"$way\", \"job\": \"$job\"" "$rounds/peer" | best reviews_per_s)
    ours=$(best reviews_per_s <"$rounds/mpq_$job")
    printf '%s\t%s\tbert-tiny %s, batch 8, reviews/s (before: PyTorch %s)\t%s\t%s\t%s\n' \
      "$(date -u +%F)" "$(commit)" "$job" "$way" "$peer" "$ours" "$device" | tee -a "$table"
  done
done
