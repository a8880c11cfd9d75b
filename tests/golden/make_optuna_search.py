"""Writes optuna_search.json: what Optuna's samplers choose on small spaces (run with Optuna 5.0.0, NumPy 2)."""

import json
import sys

import optuna
from optuna.distributions import CategoricalDistribution as Categorical
from optuna.distributions import FloatDistribution as Float
from optuna.distributions import IntDistribution as Int
from optuna.trial import TrialState

optuna.logging.set_verbosity(optuna.logging.ERROR)


def table(layers, choices, seed):
    """Objective entries: multiples of 1/1024, so that sums are exact in any order."""
    return [[((seed * 7919 + i * 104729 + c * 1299709) * 2654435761 % 2**32 >> 22) / 1024 for c in range(choices)]
            for i in range(layers)]


def index(trial, space):
    return [space[name].choices.index(trial.params[name]) for name in space]


def tpe(multivariate, parallel, events, seed, direction="maximize", layers=8, choices=4, trials=72):
    entries = table(layers, choices, seed)
    space = {f"layer{i:02}": Categorical([f"c{c}" for c in range(choices)]) for i in range(layers)}
    sampler = optuna.samplers.TPESampler(seed=seed, multivariate=multivariate, constant_liar=parallel > 1)
    study = optuna.create_study(direction=direction, sampler=sampler)
    record = []
    while len(record) < trials:
        wave = [study.ask(space) for _ in range(parallel)]
        for trial in wave:
            chosen = index(trial, space)
            finish(study, trial, chosen, sum(e[c] for e, c in zip(entries, chosen)), events, record)
    return {"multivariate": multivariate, "parallel": parallel, "seed": seed, "direction": direction, "table": entries,
            "trials": record}


def finish(study, trial, chosen, value, events, record):
    n, entry = trial.number, {"choices": chosen, "state": "COMPLETE", "value": value}
    if events:
        violation = sum(chosen) - 12.0
        entry["constraint"] = violation if n % 13 != 6 else 0.5
        study._storage.set_trial_system_attr(trial._trial_id, "constraints", [entry["constraint"]])
        if n % 7 == 3:
            entry |= {"state": "PRUNED", "step": n % 3, "report": value}
        elif n % 11 == 5:
            entry["state"] = "FAIL"
        elif violation > 4 or n % 17 == 2:
            entry["state"] = "PRUNED"
    if "step" in entry:
        trial.report(value, entry["step"])
    state = TrialState[entry["state"]]
    study.tell(trial, value if state == TrialState.COMPLETE else None, state=state)
    record.append(entry)


def random(seed):
    space = {"c": Categorical(["a", "b", "c"]), "one": Categorical(["x"]), "i": Int(3, 30, step=3), "il": Int(1, 64, log=True),
             "f": Float(-1, 1), "fl": Float(1e-5, 1e-1, log=True), "fs": Float(0, 0.5, step=0.1)}
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    rows = []
    for _ in range(20):
        trial = study.ask(space)
        rows.append([trial.params[name] for name in space])
        study.tell(trial, 0.0)
    return {"seed": seed, "distributions": {k: optuna.distributions.distribution_to_json(d) for k, d in space.items()},
            "trials": rows}


def grid(seed):
    space = {"b": ["x", "y", "z"], "a": [1, 2], "c": [True, None, "q", 2.5]}
    study = optuna.create_study(sampler=optuna.samplers.GridSampler(space, seed=seed))
    rows = []

    def objective(trial):
        rows.append([trial.suggest_categorical(name, values) for name, values in space.items()])
        return 0.0

    study.optimize(objective, n_trials=100)
    return {"seed": seed, "space": space, "trials": rows}


golden = {
    "optuna": optuna.__version__,
    "tpe": [tpe(True, 1, False, 3), tpe(True, 4, False, 4), tpe(True, 3, True, 5, "minimize"), tpe(True, 1, True, 6),
            tpe(False, 1, False, 7), tpe(False, 4, False, 8, "minimize"), tpe(False, 1, True, 9),
            tpe(True, 1, False, 10, layers=3, choices=7, trials=60)],
    "random": random(11),
    "grid": grid(12),
}
json.dump(golden, open(sys.argv[1], "w"), separators=(",", ":"))
