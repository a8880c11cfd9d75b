# shellcheck shell=bash
# What others have published for lab 1, task 2 (IMDb, test accuracy of one seed), to stand beside our results.

published_pruning() {
  cat <<'END'
Published for the same task (students' reports, DeepWok/mase pull requests 273 to 315 and their own repositories; frozen
embeddings, 5 epochs of fine-tuning, one threshold a batch; l1/random, one seed each):

| sparsity | AT | G14 | G1 | TAN |
|--:|--:|--:|--:|--:|
| 0.1 | .8604/.8395 | .8595/.8402 | .8591/.8382 | .8587/.8407 |
| 0.3 | .8550/.8081 | .8540/.8061 | .8497/.8066 | .8537/.8070 |
| 0.5 | .8415/.7444 | .8400/.7418 | .8382/.7403 | .8408/.7336 |
| 0.7 | .8098/.5044 | .8090/.5041 | .8128/.5016 | .8017/.5046 |
| 0.9 | .5610/.5034 | .6067/.5018 | .5456/.5045 | .5260/.5008 |

Before fine-tuning (AT): l1 .8437 at 0.1, .7673 at 0.5, .5008 at 0.8; random .7368 at 0.1, .5066 at 0.5. With trainable
embeddings (JJ, read off a plot): l1 about .87 up to 0.8, .77 at 0.9; random .84 at 0.6, .515 at 0.7. None of them has a
dense control with the same extra epochs. A point took them 115 s (l1) to 530 s (random) an epoch.
END
}
