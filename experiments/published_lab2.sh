# shellcheck shell=bash
# What others have published for lab 2 (IMDb, test accuracy of one seed, selected on test), to stand beside our results.

published_nas() {
  cat <<'END'
Published for the same task (G1, DeepWok/mase pull request 315; one epoch, one seed, selected on test, Imperial HPC; the
only report whose heads and layers really vary):

| sampler | best of 100 | at trial | mean | min | seconds a trial |
|---|--:|--:|--:|--:|--:|
| grid | .8730 | 17 | .8593 | .8365 | 83 |
| random | .8722 | 22 | .8536 | .7826 | 76 |
| TPE | .8750 | 80 | .8652 | .8352 | 85 |

Their best so far after 1, 5, 10, 20, 50, 100 trials: grid .8646 .8655 .8691 .8730 .8730 .8730; random .8671 .8671 .8689
.8689 .8722 .8722; TPE .8669 .8697 .8697 .8714 .8728 .8750. In the tutorial itself two of the four sizes are set under names
that the model does not read, so its space has 25 different networks (KEV: .87232 with all three samplers, the same network).
END
}

published_compression() {
  cat <<'END'
Published for the same task (students' reports, DeepWok/mase; 8-bit integers with 4 of fraction, half of weights and
activations pruned by l1 unless said; one seed, selected on test):

| source | trials | no compression | compressed, no training after | with training after |
|---|--:|--:|--:|--:|
| G1 (epochs before and after: 3 and 0; 4 and 2) | 20 | .8750 | .8760 (mean .8223) | .8782 (mean .8699) |
| KEV (quantized only) | 10 | .8662 | .8619 (mean .785) | .8764 (mean .8723) |
| AT | 10 | .8778 | .8600 | .8728 |
| JJ | - | .8816 (2 epochs) | .8726 (2) | .8758 (1 + 1) |
| G14 | 30 | .8376 | .769 | .8694 |
END
}
