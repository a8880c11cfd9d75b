#!/usr/bin/env bash
# Lab 3, task 2: one curve a number format, best accuracy found so far against the number of trials. Drawn both ways: every
# layer takes the family, and each layer chooses among the family's choices or full precision. Further arguments go to mpq search.
#   DATA=imdb ROWS=2000 TRIALS=100 EPOCHS=1 DEVICE=cpu experiments/lab3_task2.sh
set -euo pipefail
cd "$(dirname "$0")/.."
source experiments/common.sh

for mode in all-layers per-layer; do
  search "lab3_task2_$mode" --family all --mode "$mode" "$@"
done
