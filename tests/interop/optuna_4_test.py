# pip: optuna==4.9.0
"""optuna_test.py with Optuna 4."""

import pathlib
import runpy

runpy.run_path(str(pathlib.Path(__file__).with_name("optuna_test.py")), run_name="__main__")
