#!/usr/bin/env bash
# Runs a tool of the CUDA toolkit, which lies beside nvcc, often installed and rarely on the PATH: tests/cuda_tool.sh ncu ...
set -euo pipefail
nvcc=$(command -v nvcc || echo "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc")
export PATH="$PATH:$(dirname "$(readlink -m "$nvcc")")"
command -v "$1" >/dev/null || {
  printf 'error: no %s on the PATH and none beside %s\nhint: it is a part of the CUDA toolkit; set PATH or CUDA_HOME\n' "$1" "$nvcc" >&2
  exit 2
}
exec "$@"
