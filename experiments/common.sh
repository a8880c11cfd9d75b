# shellcheck shell=bash
# What the experiment scripts share; each sources it from the project's root.
#   DATA     synthetic (default), imdb, or a path      ROWS    rows of each split (default: all)
#   TRIALS   per family (default: the search's own)    EPOCHS  of each trial (default 1; 0: no training)
#   DEVICE   cpu (default), cuda, cuda:N                      COMMIT  what the results name where there is no git
#   QUICK=1  the synthetic corpus, in under a minute on two cores, where a script has that
[[ -z ${QUICK:-} ]] || DATA=synthetic
DATA=${DATA:-synthetic} ROWS=${ROWS:-} TRIALS=${TRIALS:-} EPOCHS=${EPOCHS:-1} DEVICE=${DEVICE:-cpu}
RESULTS=experiments/results

[[ -x ./mpq ]] || { echo "error: there is no ./mpq" >&2; echo "hint: run make first" >&2; exit 2; }

# provenance FOLDER COMMAND...: what made the results in a folder, and on what.
provenance() {
  local folder=$1
  shift
  mkdir -p "$folder"
  {
    echo "date: $(date -u +%F)"
    echo "commit: $(commit)"
    echo "command: $*"
    ./mpq info
  } >"$folder/provenance.txt"
}

# The commit, with a + if the tree differs from it.
commit() { echo "${COMMIT:-$(git describe --always --dirty=+ 2>/dev/null || echo unknown)}"; }

# search NAME ARGUMENTS...: one mpq search into experiments/results/NAME.
search() {
  local folder=$RESULTS/$1
  shift
  local command=(./mpq search "$@" --data "$DATA" --epochs "$EPOCHS" --device "$DEVICE" --out "$folder"
    ${ROWS:+--rows "$ROWS"} ${TRIALS:+--trials "$TRIALS"})
  "${command[@]}"
  provenance "$folder" "${command[@]}"
}

# json_value KEY: a number of the last JSON line on standard input.
json_value() { tail -n 1 | grep -oE "\"$1\": *-?[0-9.eE+-]+" | head -n 1 | sed 's/.*: *//'; }
