#!/usr/bin/env bash
# Lab 3, task 1: the best accuracy found so far against the number of trials, every Linear choosing its own integer width
# from {8, 16, 32} and fraction from {2, 4, 8}. Further arguments go to mpq search (--init DIR, --parallel N ...).
#   DATA=imdb ROWS=2000 TRIALS=100 EPOCHS=1 DEVICE=cpu experiments/lab3_task1.sh
set -euo pipefail
cd "$(dirname "$0")/.."
source experiments/common.sh

search lab3_task1 --space lab3-task1 --mode per-layer "$@"
