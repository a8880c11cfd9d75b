#!/usr/bin/env bash
# Every experiment of the labs, one after the other; what each takes (DATA, DEVICE, SEEDS, QUICK=1 ...) stands in common.sh
# and in its own head. Without BASE those after pretrain.sh start from the base that it trained (not with QUICK: the
# synthetic corpus has nothing to pretrain on). One that fails is named at the end and does not stop the others.
#   DATA=imdb DEVICE=cuda experiments/all.sh                  SCRIPTS="lab1_quantization lab1_pruning" experiments/all.sh
set -uo pipefail
cd "$(dirname "$0")/.."
SCRIPTS=${SCRIPTS:-pretrain lab0_lora lab1_quantization low_bits lab1_pruning lab2_nas lab2_compression lab3_task1 lab3_task2}

pretrained=${WORK:-out/experiments}/pretrained

failed=()
for script in $SCRIPTS; do
  "experiments/$script.sh" || failed+=("$script")
  [[ $script != pretrain || -n ${BASE:-}${QUICK:-} || ! -d $pretrained ]] || export BASE=$pretrained
done
[[ ${#failed[@]} -eq 0 ]] || { echo "error: failed: ${failed[*]}" >&2; exit 2; }
