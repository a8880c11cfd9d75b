#!/usr/bin/env bash
# Draws the figures of experiments/results (or of the folders named) that a machine without gnuplot left as data.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v gnuplot >/dev/null || { echo "error: gnuplot is missing" >&2; echo "hint: ./setup.sh installs it" >&2; exit 2; }
[[ $# -gt 0 ]] || set -- experiments/results
find "$@" -name '*.gp' | sort | while read -r script; do
  figure=${script%.gp}
  [[ $figure.svg -nt $figure.tsv && $figure.png -nt $figure.tsv ]] && continue
  (cd "$(dirname "$script")" && gnuplot "$(basename "$script")" </dev/null)
  echo "$figure"
done
experiments/readme.sh
