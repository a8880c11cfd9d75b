#!/usr/bin/env bash
# Every CUDA kernel on small shapes, under compute-sanitizer: tests/sanitize_cuda.sh BUILD [TOOL ...]
# TOOL: memcheck and racecheck where none is named. Which test launches what: cuda/README.md.
set -euo pipefail

build=$1 tools=("${@:2}")
[[ ${#tools[@]} -gt 0 ]] || tools=(memcheck racecheck)
export MPQ_REQUIRE=cuda

suite=(
  '*/OpsTest.AsCloseToDoubleAsNaiveFloat32/cuda'
  '*/OpsTest.AReplicaHasTheBitsItHasAlone/cuda'
  '*/AdamWRowsTest.*/cuda'
  '*/BatchesTest.*/cuda'
  '*/QuantizedOpsTest.*/cuda'
  '*/DeviceFormatsTest.OddShapes/cuda'
  '*/SessionTest.*/cuda'
  '*/ShardsTest.*/cuda'
  '*/PrecisionTest.*/cuda'
  '*/TilesTest.*/cuda'
  '*/DeviceBasicsTest.ACopyIsTheSameBytes/cuda'
)
filter=$(IFS=: && echo "${suite[*]}")

for tool in "${tools[@]}"; do
  sanitized=("$(dirname "$0")/cuda_tool.sh" compute-sanitizer --tool "$tool" --error-exitcode 1 --print-limit 20)
  "${sanitized[@]}" "$build/mpq_tests" --gtest_filter="$filter"
done
