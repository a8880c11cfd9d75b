#!/usr/bin/env bash
# Every experiment of the labs, one after the other; what each takes (DATA, DEVICE, SEEDS, QUICK=1 ...) stands in its head.
# One that fails is named at the end and does not stop the others.
#   DATA=imdb VOCAB=bert-base-uncased-vocab.txt DEVICE=cuda experiments/all.sh
set -uo pipefail
cd "$(dirname "$0")"

failed=()
for script in pretrain lab0_lora lab1_quantization low_bits lab1_pruning lab2_nas lab2_compression lab3_task1 lab3_task2; do
  [[ -f $script.sh ]] || continue
  echo "== $script" >&2
  "./$script.sh" || failed+=("$script")
done
./readme.sh
[[ ${#failed[@]} -eq 0 ]] || { echo "error: failed: ${failed[*]}" >&2; exit 2; }
