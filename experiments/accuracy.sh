#!/usr/bin/env bash
# From scratch with the labs' recipe on full IMDb: five seeds for one epoch, three seeds for three epochs; test accuracies,
# their mean and 95 % interval (Student's t).
#   VOCAB=bert-base-uncased-vocab.txt experiments/accuracy.sh
set -euo pipefail
cd "$(dirname "$0")/.."
DATA=${DATA:-imdb}
source experiments/common.sh
VOCAB=${VOCAB:?set VOCAB to the BERT vocabulary (data/fetch_imdb.sh fetches it)}

out=$RESULTS/accuracy
mkdir -p "$out"
provenance "$out" "$0"
printf 'epochs\tseed\ttest_accuracy\tseconds\n' >"$out/runs.tsv"
for run in "1 1" "1 2" "1 3" "1 4" "1 5" "3 1" "3 2" "3 3"; do
  read -r epochs seed <<<"$run"
  # The labs train on all 25,000 reviews: no validation split.
  result=$(./mpq train --data "$DATA" --tokenizer "$VOCAB" --valid 0 --epochs "$epochs" --seed "$seed" \
    --device "$DEVICE" ${ROWS:+--rows "$ROWS"} --json | tail -n 1)
  printf '%s\t%s\t%s\t%s\n' "$epochs" "$seed" "$(json_value test_accuracy <<<"$result")" \
    "$(json_value seconds <<<"$result")" | tee -a "$out/runs.tsv"
done

awk -F'\t' 'NR > 1 { n[$1]++; sum[$1] += $3; squares[$1] += $3 * $3 }
  BEGIN { t[3] = 4.302653; t[5] = 2.776445; print "epochs\tseeds\tmean\tlow\thigh" }
  END { for (e = 1; e <= 3; e += 2) { m = sum[e] / n[e]; v = (squares[e] - n[e] * m * m) / (n[e] - 1); h = t[n[e]] * sqrt(v > 0 ? v / n[e] : 0)
                       printf "%s\t%d\t%.4f\t%.4f\t%.4f\n", e, n[e], m, m - h, m + h } }' "$out/runs.tsv" |
  tee "$out/summary.tsv"
