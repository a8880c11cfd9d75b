# shellcheck shell=bash
# What became of the trials of a search, from its trials.tsv; sourced by the scripts of labs 2 and 3.

# trial_summary FOLDER: writes FOLDER/summary.tsv, a row a study, and prints it as a Markdown table. Trials are numbered from
# 0, as in Optuna; trials over budget have no accuracy and are left out.
trial_summary() {
  awk -F'\t' -v OFS='\t' '
    function shown(x) { return x == "" ? "-" : sprintf("%.4f", x) }
    NR == 1 { next }
    !($1 in trials) { order[++studies] = $1 }
    { trials[$1]++ }
    $3 != "-" {
      n[$1]++; sum[$1] += $3
      if (n[$1] == 1 || $3 < min[$1]) min[$1] = $3
      if (n[$1] == 1 || $3 > best[$1]) { best[$1] = $3; at[$1] = $2; what[$1] = $7 }
    }
    { for (k = 1; k <= split("1 5 10 20 50 100", mark, " "); ++k) if ($2 == mark[k] - 1) so_far[$1, k] = best[$1] }
    END {
      print "study", "trials", "mean", "min", "best", "at trial", "architecture", "after 1", "5", "10", "20", "50", "100"
      for (i = 1; i <= studies; ++i) {
        s = order[i]
        if (!n[s]) continue
        row = s OFS n[s] OFS shown(sum[s] / n[s]) OFS shown(min[s]) OFS shown(best[s]) OFS at[s] OFS what[s]
        for (k = 1; k <= 6; ++k) row = row OFS shown(so_far[s, k])
        print row
      }
    }' "$1/trials.tsv" >"$1/summary.tsv"
  awk -F'\t' '{ printf "|"; for (i = 1; i <= NF; ++i) printf " %s |", $i; print ""
                if (NR == 1) { printf "|"; for (i = 1; i <= NF; ++i) printf (i == 1 || i == 7 ? "---|" : "--:|"); print "" } }' \
    "$1/summary.tsv"
}

# column NAME STUDY FILE: that cell of a table with a header.
column() {
  awk -F'\t' -v name="$1" -v study="$2" 'NR == 1 { for (i = 1; i <= NF; ++i) if ($i == name) c = i }
    NR > 1 && $1 == study { print (c ? $c : "-") }' "$3"
}

# confirmed_studies FOLDER: a sentence a study about its winner trained again with other seeds; nothing where none were.
confirmed_studies() {
  local study mean low high
  while read -r study; do
    mean=$(column "seeds: mean test" "$study" "$1/table.tsv") low=$(column "seeds: 95% low" "$study" "$1/table.tsv")
    high=$(column "seeds: 95% high" "$study" "$1/table.tsv")
    [[ $mean == - || -z $mean ]] || echo "* $study, trained again with other seeds: $mean on the test split (95 % interval $low to $high)."
  done < <(tail -n +2 "$1/summary.tsv" | cut -f 1)
  echo
}

# What base_without_validation trained.
base_sentence() {
  printf 'One base for all trials, %s epoch(s) in float on the films that do not select: %.4f on validation, %.4f on test. ' \
    "$BASE_EPOCHS" "$(json_value valid_accuracy <"$work/base.json")" "$(json_value test_accuracy <"$work/base.json")"
}

# selection_flaw FOLDER: what selecting on the test split claims, from the search's selected.tsv (--watch-test): the table,
# and the means over the studies.
selection_flaw() {
  markdown <"$1/selected.tsv"
  echo
  awk -F'\t' 'NR == 1 { next }
    $2 == "valid" { valid += $5; ++n; if ($6 != "-") { seeds_valid += $6; ++m } }
    $2 == "test" { test += $5; if ($6 != "-") seeds_test += $6 }
    END {
      printf "Selected on the test split, the winner%s claim%s %.4f there; selected on validation, the same trials reach %.4f: %+.2f points. ",
        (n > 1 ? "s of " n " studies" : ""), (n > 1 ? " (mean)" : "s"), test / n, valid / n, 100 * (test - valid) / n
      if (m) printf "Trained again with other seeds the two choices reach %.4f and %.4f, so %+.2f points of the claim were luck.", seeds_test / m, seeds_valid / m,
        100 * (test / n - seeds_test / m)
      print ""
    }' "$1/selected.tsv"
}
