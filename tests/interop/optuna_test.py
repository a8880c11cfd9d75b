# pip: optuna
"""Studies written by mpq open in the real Optuna, and studies written by Optuna open in mpq: optuna_test.py MPQ"""

import json
import math
import os
import subprocess
import sys
import tempfile

import optuna
from optuna.trial import TrialState

optuna.logging.set_verbosity(optuna.logging.ERROR)


def run(mpq, *args):
    done = subprocess.run([mpq, *args], capture_output=True, text=True)
    assert done.returncode == 0, f"mpq {' '.join(args)}: {done.stderr}"
    return done.stdout


def rows(mpq, action, url, name):
    return [json.loads(line) for line in
            run(mpq, "study", action, "--json", "--storage", url, "--study", name).splitlines()]


def trials_of(mpq, url, name):
    return [row for row in rows(mpq, "show", url, name) if "number" in row]


def equal_values(ours, theirs):
    if theirs is None:
        return ours is None
    return float(ours) == theirs  # mpq writes inf as text


def check_equal(mpq, url, study):
    """Every trial, and the best one, is the same for both."""
    ours, theirs = trials_of(mpq, url, study.study_name), study.get_trials()
    assert len(ours) == len(theirs) > 0, (len(ours), len(theirs))
    for a, b in zip(ours, theirs):
        assert a["number"] == b.number and a["state"] == b.state.name, (a, b)
        value = None if b.state not in (TrialState.COMPLETE, TrialState.PRUNED) else b.value
        assert equal_values(a["value"], value), (a, b)
        assert a["params"] == b.params and list(a["params"]) == list(b.params), (a, b)
        assert a["user_attrs"] == b.user_attrs, (a, b)
        assert a.get("constraints", []) == b.system_attrs.get("constraints", []), (a, b)
    best = rows(mpq, "best", url, study.study_name)[-1]
    assert best["number"] == study.best_trial.number, (best, study.best_trial)
    assert equal_values(best["value"], study.best_value) and best["params"] == study.best_params
    return len(ours)


def mpq_writes(mpq, folder):
    """A search of mpq opens in Optuna, and Optuna goes on with it."""
    url = f"sqlite:///{folder}/mpq.db"
    run(mpq, "search", "--family", "integer", "--mode", "per-layer", "--data", "synthetic", "--rows", "64", "--epochs", "0",
        "--trials", "12", "--storage", url, "--out", f"{folder}/out")
    for name in optuna.get_all_study_names(url):
        study = optuna.load_study(study_name=name, storage=url)
        count = check_equal(mpq, url, study)
        space = {k: d for k, d in study.trials[0].distributions.items()}
        study.tell(study.ask(space), -1.0 if study.direction.name == "MAXIMIZE" else 1e9)
        assert check_equal(mpq, url, study) == count + 1


def objective(trial):
    x = trial.suggest_float("x", -1, 1)
    bits = trial.suggest_categorical("layer.bits", [2, 4, 8])
    kind = trial.suggest_categorical("kind \u00e9\t", ["int8", None, True, 1.5])
    rank = trial.suggest_int("rank", 1, 64, log=True)
    trial.set_user_attr("size", {"mb": 12.5, "per layer": [1, 2]})
    trial.report(x, 1)
    if trial.number == 3:
        raise optuna.TrialPruned
    if trial.number == 4:
        return math.nan
    if trial.number == 5:
        return math.inf
    return x * x + bits + rank / 100 + (kind is None)


def optuna_writes(mpq, folder):
    url = f"sqlite:///{folder}/optuna.db"
    study = optuna.create_study(storage=url, study_name="by optuna", sampler=optuna.samplers.RandomSampler(seed=1))
    study.optimize(objective, n_trials=20)
    study.ask()  # stays RUNNING
    check_equal(mpq, url, study)
    header, *lines = run(mpq, "study", "export", "--storage", url).splitlines()
    assert len(lines) == 21 and all(line.count("\t") == header.count("\t") for line in lines)


if __name__ == "__main__":
    mpq = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        optuna_writes(mpq, folder)
        mpq_writes(mpq, folder)
    print(f"Optuna {optuna.__version__}: studies of either open in the other")
