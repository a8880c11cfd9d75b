# shellcheck shell=bash
# What the experiment scripts share; each sources it from the project's root. Every script takes from the environment:
#   DATA      synthetic (default), imdb (MPQ_IMDB and MPQ_VOCAB say where that is), or a path
#   VOCAB     the tokenizer (default: what suits the data)      ROWS       rows of each split (default: all)
#   DEVICE    cpu (default), cuda, cuda:N                       PRECISION  fp32 (default), tf32, bf16
#   SEEDS     how many: 42, 43 ... (default 3)                  EPOCHS, TRIALS and more: as the script's head says
#   BASE      a pretrained checkpoint to start from, such as pretrain.sh's (default: random weights)
#   QUICK=1   the synthetic corpus in small, under a minute on two cores; into a folder of its own, NAME_quick
#   RESULTS   where results go (default experiments/results)    WORK       what is kept (default out/experiments)
#   COMMIT    what the results name as their commit where there is no git
# Further arguments go to the mpq command that the script's head names. One that was stopped goes on where it was when it
# is run again in the same way, and one that had finished writes the same results again; bases are trained once for all.
# That takes bash, awk and sed. Where gnuplot is missing, experiments/draw.sh draws the figures later, or elsewhere.
export LC_ALL=C
QUICK=${QUICK:-} DATA=${DATA:-synthetic} VOCAB=${VOCAB:-} ROWS=${ROWS:-} DEVICE=${DEVICE:-cpu} BASE=${BASE:-}
PRECISION=${PRECISION:-fp32} RESULTS=${RESULTS:-experiments/results} WORK=${WORK:-out/experiments}
[[ -z $QUICK ]] || DATA=synthetic

fail() { printf 'error: %s\nhint: %s\n' "$1" "$2" >&2; exit 2; }
[[ -x ./mpq ]] || fail "there is no ./mpq" "run make first"
[[ -z $BASE || -f $BASE/config.json ]] || fail "BASE=$BASE is no checkpoint" "name the folder of one"

# default NAME=VALUE...: what the environment, or an earlier line, leaves open.
default() {
  local pair variable
  for pair; do
    variable=${pair%%=*}
    [[ -n ${!variable:-} ]] || printf -v "$variable" %s "${pair#*=}"
  done
}

# begin NAME "VARIABLE..." ARGUMENT...: before the first mpq; the script's own variables and arguments, which decide its
# results too. Sets, for its commands:
#   out   where results go     work    what this configuration keeps, between runs that are stopped
#   data  the data and the machine     start  the model that training starts from     recipe  what QUICK trains with
begin() {
  default SEEDS=3
  name=$1${QUICK:+_quick} out=$RESULTS/$name
  local variable
  settings=
  for variable in QUICK DATA VOCAB ROWS DEVICE PRECISION SEEDS BASE $2; do
    [[ -z ${!variable:-} ]] || settings+="$variable=$(quoted "${!variable}") "
  done
  settings+="experiments/$1.sh"
  for variable in "${@:3}"; do settings+=" $(quoted "$variable")"; done
  data=(--data "$DATA" --device "$DEVICE" --precision "$PRECISION" ${VOCAB:+--tokenizer "$VOCAB"} ${ROWS:+--rows "$ROWS"})
  start=(${BASE:+--init "$BASE"}) recipe=()
  if [[ -n $QUICK ]]; then
    data+=(--max-tokens 64)
    recipe=(--batch 16 --dropout 0)
    [[ -n $BASE ]] || start=(--model 2,64,2,128)
  fi
  work=$WORK/$name-$(key "$settings") began=$EPOCHREALTIME
  mkdir -p "$work"
  rm -f "$work"/{runs,means}.tsv
  trap end EXIT
}

# As one would type it.
quoted() { [[ $1 =~ ^[A-Za-z0-9_.,:/=+%-]+$ ]] && echo "$1" || echo "${1@Q}"; }

# key TEXT...: a number for what decides results: these texts, the program, the pretrained base.
key() {
  { printf '%s\n' "$@"; cksum <./mpq; [[ -z $BASE ]] || cat "$BASE"/config.json "$BASE"/*model.* | cksum; } | cksum | cut -d ' ' -f 1
}

# Of this run and of those that it goes on from; once it has finished, what it took.
seconds() {
  [[ ! -f $work/finished ]] || { cat "$work/finished"; return; }
  awk -v before="$(cat "$work/seconds" 2>/dev/null || echo 0)" -v a="$began" -v b="$EPOCHREALTIME" \
    'BEGIN { printf "%.1f\n", before + b - a }'
}

# What every script ends with, stopped or not.
end() {
  local code=$? spent
  spent=$(seconds)
  echo "$spent" >"$work/seconds"
  [[ $code -ne 0 ]] || echo "$spent" >"$work/finished"
  [[ $code -ne 0 || $RESULTS != experiments/results ]] || experiments/readme.sh
  printf '== %s: %s s%s\n' "$name" "$spent" "$([[ $code -eq 0 ]] || echo ", not finished")" >&2
}

# publish FOLDER [INTO]: the tables and figures of a folder in $work, into the results.
publish() {
  local from=$work/$1 into=$out/${2:-} file
  mkdir -p "$into"
  rm -f "$into"/*.{tsv,md,gp,svg,png}
  for file in "$from"/*.{tsv,md,gp,svg,png}; do [[ ! -f $file ]] || cp "$file" "$into"; done
}

# paragraph TITLE <TEXT: what the results say, and where they come from.
paragraph() {
  mkdir -p "$out"
  { printf '# %s%s\n\n' "$1" "${QUICK:+ (quick run, synthetic corpus)}"; cat; } >"$out/paragraph.md"
  provenance "$out" "$settings"
}

# provenance FOLDER COMMAND...: what made the results in a folder, and on what.
provenance() {
  local folder=$1 info
  shift
  mkdir -p "$folder"
  info=$(./mpq info)
  {
    echo "date: $(date -u +%F)"
    echo "commit: $(commit)"
    echo "command: $*"
    awk -v kind="${DEVICE%%:*}" -v precision="$PRECISION" '$1 == kind {
      sub(/^ *[a-z]+ +/, ""); sub(/, fp32$/, ", " precision); print "device: " $0 }' <<<"$info"
    [[ -z ${work:-} ]] || echo "seconds: $(seconds)"
    sed '/^cache$/,$d' <<<"$info"  # folders of this machine say nothing to others
  } >"$folder/provenance.txt"
}

# The commit, with a + if the tree differs from it.
commit() { echo "${COMMIT:-$(git describe --always --dirty=+ 2>/dev/null || echo unknown)}"; }

# once NAME COMMAND...: keeps what a command with --json prints in $work/NAME.json; run again, that is there already.
once() {
  local file=$work/$1.json
  [[ ! -f $file ]] || return 0
  mkdir -p "$work"
  "${@:2}" --json >"$file.new"
  mv "$file.new" "$file"
}

# bases: a base a seed, side by side, trained for BASE_EPOCHS at BASE_LR. Sets bases, with % for the seed.
bases() {
  local command=(./mpq train "${data[@]}" "${start[@]}" "${recipe[@]}" --valid 0 --epochs "$BASE_EPOCHS" --lr "$BASE_LR"
    --seeds "$SEEDS")
  bases=$WORK/bases-$(key "${command[*]}")/%
  work=${bases%/%} once finished "${command[@]}" --out "$bases"
}

# base_without_validation: one base for searches that select on validation, whose rows it has not seen. Sets base.
base_without_validation() {
  base=$work/base
  once base ./mpq train "${data[@]}" "${start[@]}" "${recipe[@]}" --epochs "$BASE_EPOCHS" --lr "$BASE_LR" --out "$base"
}

# run_seeds WHAT ARGUMENT...: one mpq train of all seeds, on all training rows; a line each in $work/runs.tsv, and their
# mean with its interval in $work/means.tsv.
run_seeds() {
  local file=${1//[^a-zA-Z0-9]/_} result value
  once "$file" ./mpq train "${data[@]}" "${recipe[@]}" --valid 0 --seeds "$SEEDS" "${@:2}"
  result=$(<"$work/$file.json")
  number() { json_value "$1" <<<"$result"; }
  value=$(number test_accuracy)
  [[ -f $work/means.tsv ]] || printf 'what\tseeds\tmean\tlow\thigh\ttrained parameters\tseconds\n' >"$work/means.tsv"
  [[ -f $work/runs.tsv ]] || printf 'what\tseed\ttest accuracy\n' >"$work/runs.tsv"
  printf '%s\t%d\t%.4f\t%.4f\t%.4f\t%s\t%s\n' "$1" "$SEEDS" "$value" "$(number test_low || echo "$value")" \
    "$(number test_high || echo "$value")" "$(number trained_parameters)" "$(number seconds)" | tee -a "$work/means.tsv" >&2
  sed -nE "s/^\{\"seed\": ?([0-9]+), ?\"test_accuracy\": ?([0-9.]+).*/$1\t\1\t\2/p" <<<"$result" >>"$work/runs.tsv"
}

# of WHAT COLUMN: a cell of $work/means.tsv.
of() {
  awk -F'\t' -v what="$1" -v column="$2" 'NR == 1 { for (i = 1; i <= NF; ++i) if ($i == column) at = i } $1 == what { print $at }' \
    "$work/means.tsv"
}

# Architectures that QUICK can search, in recipe.
small_architectures() {
  recipe=(--model 2,32,2,64 --layers 1,2 --heads 2,4 --hidden 32,64 --ffn 64,128 --batch 16 --lr 2e-3 --dropout 0)
}

# search FOLDER ARGUMENT...: one mpq search into a folder of $work.
search() {
  ./mpq search "${data[@]}" ${EPOCHS:+--epochs "$EPOCHS"} ${TRIALS:+--trials "$TRIALS"} --out "$work/$1" "${@:2}"
  [[ -f $work/$1/table.tsv ]] || fail "the search is not finished" "the same command goes on"
}

# json_value KEY: a number of the last JSON line on standard input.
json_value() { tail -n 1 | grep -oE "\"$1\": *-?[0-9.eE+-]+" | head -n 1 | sed 's/.*: *//'; }

# markdown <TSV: as a table; columns of numbers to the right.
markdown() {
  awk -F'\t' '
    { for (i = 1; i <= NF; ++i) { cell[NR, i] = $i; if (NR > 1 && $i !~ /^(-|[-+]?[0-9.]+(e[-+]?[0-9]+)?)$/) words[i] = 1 } columns = NF }
    END { for (row = 1; row <= NR; ++row) {
            line = "|"; for (i = 1; i <= columns; ++i) line = line " " cell[row, i] " |"; print line
            if (row == 1) { line = "|"; for (i = 1; i <= columns; ++i) line = line (i in words ? "---|" : "--:|"); print line } } }'
}
