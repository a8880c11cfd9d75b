#!/usr/bin/env bash
# Writes experiments/README.md: every folder of results with its paragraph, where it came from, and its figures. A script
# that writes a folder leaves a paragraph.md in it, its first line a title (# ...), and calls this one at its end.
set -euo pipefail
cd "$(dirname "$0")"

show() {
  local folder=$1 figure
  if [[ -f $folder/paragraph.md ]]; then
    sed 's/^# /## /' "$folder/paragraph.md"
  else
    printf '## %s\n\n' "$(basename "$folder")"
    [[ ! -f $folder/table.md ]] || cat "$folder/table.md"
  fi
  printf '\n'
  for figure in "$folder"/*.png "$folder"/*/*.png; do
    [[ ! -f $figure ]] || printf '![%s](%s)\n\n' "$(basename "$figure" .png)" "$figure"
  done
  [[ ! -f $folder/provenance.txt ]] || sed -nE 's/^(date|commit|command|device|seconds): *(.*)/* \1: `\2`/p' "$folder/provenance.txt"
  printf '\n'
}

{
  cat <<'END'
# Results

One folder of `results/` an experiment, written by the script of its name with the commit and the machine that made it;
`experiments/all.sh` runs them all. Results marked as quick runs are of the synthetic corpus: they say that the machinery
works, and nothing about any language. This page is written by `experiments/readme.sh`.

END
  for folder in results/*/; do show "${folder%/}"; done
} >README.md.new
mv README.md.new README.md
