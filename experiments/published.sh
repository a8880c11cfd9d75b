# shellcheck shell=bash
# What others have published for the labs, to stand beside our results (bert-tiny, IMDb, test accuracy).

published_quantization() {
  cat <<'END'
Published for the same task (students' reports in DeepWok/mase pull requests 258 to 315 and their own repositories;
frac = width / 2, frozen embeddings, one seed, selected on test; PTQ/QAT):

| width | AT | G1 | KEV | ISM | G16 |
|--:|--:|--:|--:|--:|--:|
| float base | .8373 | .8345 | .8140 | .8217 | .8349 |
| 4 | .500/.500 | .500/.500 | .500/.500 | .500/.500 | .500/.500 |
| 8 | .7839/.8408 | .8193/.8394 | .7332/.8328 | .7922/.8338 | .7939/.8405 |
| 16 | .8380/.8447 | .8341/.8413 | .8137/.8350 | .8210/.8357 | .8344/.8419 |
| 32 | .8374/.8449 | .8345/.8420 | .8139/.8346 | .8218/.8356 | .8349/.8418 |

With other fractions at 4 bits: .6757/.7926 (frac 4, G15), .5777/.8136 (frac 3, G6), QAT .7926 (tuned, ISM). None of them
has a float control with the same extra epoch, so part of what QAT seems to gain is that epoch.
END
}
