# shellcheck shell=bash
# What others have published for lab 3 (IMDb, test accuracy of one seed, selected on test), to stand beside our results.

published_task1() {
  cat <<'END'
Published for the same task (students' reports, DeepWok/mase; best of their trials on the test split, one seed, from their
best architecture of lab 2 unless said; most of them leave some layers in float):

| source | trials | best | mean | time |
|---|--:|--:|--:|---|
| G1 | 100 | .8800 at 83 | - | 2.5 h |
| JJ (read off a plot) | 100 | .8788 | - | - |
| G15 | - | .8772 | .8564 | 164 s a trial |
| AT (5 epochs) | 10 | .8748 | - | 10 min a trial |
| XLT | - | .8740 | - | 88 s a trial |
| TAN | - | .8722 | - | - |
| KEV (pretrained bert-tiny) | 20 | .8598 | - | - |

None of them gives a second seed, nor what selecting on the test split adds.
END
}

published_task2() {
  cat <<'END'
Published for the same task (students' reports, DeepWok/mase; test accuracy of one seed, selected on test). AT gives every
layer the family (5 trials of 3 epochs, its float control .8785), the others let layers stay in float:

| family | AT, all layers | G15 | TAN, 25 trials | JJ, 100 trials (plot) | MRB |
|---|--:|--:|--:|--:|--:|
| integer | .8798 | .8771 | .8722 | .8788 | .866 |
| minifloat_ieee | .8771 | .8773 | .8723 | .877 | .866 |
| minifloat_denorm | .8780 | .8771 | .8717 | .877 | .866 |
| block_fp | .8774 | .8762 | .8732 | .877 | .867 |
| block_log | .5 | .8765 | .8720 | .877 | .50 |
| block_minifloat | fails | .8434, untrained | - | - | - |
| log | .5 | .8765 | .8076 | .8792 | .70 |
| binary | .5042 | .8744 | .5139 | .8764 | .869 |
| binary_scaling | .5944 | .8746 | .5096 | .862 | .864 |
| binary_residual | fails | .6808, untrained | - | - | - |

A trained trial took G15 151 s (binary) to 661 s (block_fp).
END
}
