#!/usr/bin/env bash
# One GPU and two: the tests of two, then reviews a second of training (bert-tiny and bert-base, made-up reviews of IMDb's lengths, the
# making of the graphs included) and the seconds of a small search, and whether the bits are the same. A minute or two.
#   [BUILD=build] [DEVICES=cuda:0,1] [PRECISION=bf16] experiments/two_gpus.sh
set -euo pipefail
cd "$(dirname "$0")/.."
source experiments/common.sh
BUILD=${BUILD:-build} DEVICES=${DEVICES:-cuda:0,1} PRECISION=${PRECISION:-bf16} ONE=${DEVICES%%,*}
export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}${CUDA_HOME:-/usr/local/cuda}/lib  # NCCL may lie beside CUDA
results=$RESULTS/two_gpus
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [[ -x $BUILD/mpq_tests ]]; then
  MPQ_REQUIRE=$DEVICES "$BUILD/mpq_tests" --gtest_brief=1 --gtest_filter='*PairTest.*/cuda*:Crew.*:SeveralDevices.*' >&2
fi

# 12,800 reviews of words that are one token each; lengths are lognormal with about IMDb's mean, cut at 512 by mpq.
awk -v folder="$work" 'BEGIN {
  srand(1)
  vocabulary = 30522
  split("[PAD] [UNK] [CLS] [SEP] [MASK]", special, " ")
  for (i = 1; i <= 5; ++i) print special[i] >(folder "/vocab.txt")
  for (i = 5; i < vocabulary; ++i) print "w" i >(folder "/vocab.txt")
  print "text\tlabel" >(folder "/reviews.tsv")
  for (row = 0; row < 12800; ++row) {
    normal = sqrt(-2 * log(1 - rand())) * cos(6.283185307 * rand())
    words = int(exp(5.45 + 0.66 * normal)) + 8
    text = ""
    for (i = 0; i < words; ++i) text = text "w" (5 + int((vocabulary - 5) * rand() ^ 3)) " "
    print text "\t" (rand() < 0.5 ? "good" : "bad") >(folder "/reviews.tsv")
  }
}'
data=(--data "$work/reviews.tsv" --tokenizer "$work/vocab.txt" --precision "$PRECISION")
export XDG_CACHE_HOME=$work/cache

# rate NAME ARGUMENTS...: reviews a second of mpq train, whose model goes to $work/NAME.
rate() {
  local name=$1
  shift
  ./mpq train --json "${data[@]}" --valid 0 --out "$work/$name" "$@" | json_value train_rows_per_s
}
# seconds NAME ARGUMENTS...: of mpq search.
seconds() {
  local name=$1 start
  shift
  start=$(date +%s.%N)
  ./mpq search --json "${data[@]}" --family integer,minifloat_ieee,block_fp --trials 8 --parallel 8 --epochs 1 --out "$work/$name" "$@" >/dev/null
  awk -v start="$start" -v end="$(date +%s.%N)" 'BEGIN { printf "%.1f", end - start }'
}
same() { if cmp -s "$work/$1" "$work/$2"; then echo yes; else echo NO; fi; }

mkdir -p "$results"
{
  printf 'what\tone GPU\tone GPU, two halves\ttwo GPUs\tsame bits (halves on one and two)\n'
  for run in "tiny 8 8" "tiny 64 16" "base 32 0.5"; do
    read -r model batch epochs <<<"$run"
    recipe=(--model "$model" --batch "$batch" --epochs "$epochs")
    one=$(rate one "${recipe[@]}" --device "$ONE")
    halves=$(rate halves "${recipe[@]}" --device "$ONE" --shards 2)
    two=$(rate two "${recipe[@]}" --device "$DEVICES")
    printf 'bert-%s, batch %s, reviews/s\t%.0f\t%.0f\t%.0f\t%s\n' "$model" "$batch" "$one" "$halves" "$two" \
      "$(same halves/model.safetensors two/model.safetensors)"
  done
  one=$(seconds search_one --device "$ONE")
  two=$(seconds search_two --device "$DEVICES")
  printf 'search, bert-tiny, three families, s\t%s\t-\t%s\t%s\n' "$one" "$two" "$(same search_one/trials.tsv search_two/trials.tsv)"
} | tee "$results/table.tsv"
provenance "$results" experiments/two_gpus.sh "(DEVICES=$DEVICES PRECISION=$PRECISION)"
