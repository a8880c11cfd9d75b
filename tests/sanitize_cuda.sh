#!/usr/bin/env bash
# Every CUDA kernel on small shapes, under compute-sanitizer: [JOBS=8] tests/sanitize_cuda.sh BUILD [TOOL ...]
# TOOL: memcheck and racecheck where none is named. Which test launches what: cuda/README.md. Each test has a process of its own,
# JOBS at once: the tools' own work is on the CPU, and takes minutes.
set -euo pipefail

here=$(dirname "$0") build=$1 tools=("${@:2}") JOBS=${JOBS:-$(nproc)}
[[ ${#tools[@]} -gt 0 ]] || tools=(memcheck racecheck)
export MPQ_REQUIRE=cuda
tests=$(mktemp)
trap 'rm -f "$tests"' EXIT

suite=(
  '*/OpsTest.AsCloseToDoubleAsNaiveFloat32/cuda'
  '*/OpsTest.AReplicaHasTheBitsItHasAlone/cuda'
  '*/AdamWRowsTest.*/cuda'
  '*/BatchesTest.*/cuda'
  '*/*QuantizedOpsTest.*/cuda'
  '*/DeviceFormatsTest.OddShapes/cuda'
  '*/PruneOpTest.*/cuda'
  '*/SessionTest.*/cuda'
  '*/EmbeddingFormatsTest.TheForwardPassLooksUpTheQuantizedTable/cuda'
  '*/EmbeddingFormatsTest.TheGradientGoesStraightThrough/cuda'
  '*/EmbeddingFormatsTest.SomeRowsOfATable/cuda'
  '*/MaskedLmTest.*/cuda'
  '*/ShardsTest.*/cuda'
  '*/PrecisionTest.*/cuda'
  '*/*TilesTest.*/cuda'
  '*/WideLinearTest.IsWhatNaiveLoopsCompute/cuda'
  '*/WideLinearTest.GradientsGoThroughTheFormatOfAnInput/cuda'
  '*/VocabularyTest.IsWhatNaiveLoopsCompute/cuda'
  '*/DeviceBasicsTest.ACopyIsTheSameBytes/cuda'
)
# Hundreds of steps: minutes under racecheck, and kernels that BatchesTest has.
filter=$(IFS=: && echo "${suite[*]}")-'*/SessionTest.StepsOnADataSet*'

sanitized() {  # TOOL TEST
  [[ $1 == memcheck ]] || export MPQ_CUBLASLT=off  # races inside of a vendor's kernels are not ours to judge
  if output=$("$here/cuda_tool.sh" compute-sanitizer --tool "$1" --error-exitcode 1 --print-limit 20 "$build/mpq_tests" --gtest_filter="$2" 2>&1)
  then echo "clean: $1 $2"
  else printf '%s\nFAILED: %s %s\n' "$output" "$1" "$2"; return 1
  fi
}
export -f sanitized
export build here

"$build/mpq_tests" --gtest_filter="$filter" --gtest_list_tests | awk '/^[^ ].*\.$/ { suite = $1 } /^ / { print suite $1 }' >"$tests"
for tool in "${tools[@]}"; do
  xargs -P "$JOBS" -I{} bash -c "sanitized $tool {}" <"$tests"
done
