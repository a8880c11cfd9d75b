#!/usr/bin/env bash
# Runs every tests/interop/*_test.py against ./mpq, each with the Python packages its first lines name ("# pip: ...").
#   tests/interop/run.sh FOLDER     FOLDER keeps the virtual environment between runs
# Where the package index is out of reach a test is skipped, visibly.
set -euo pipefail
cd "$(dirname "$0")/../.."
venv=${1:?tests/interop/run.sh FOLDER}/venv

python3 -m venv "$venv" || { echo "SKIPPED: no python3 with venv (apt-get install python3-venv)"; exit 0; }
failed=0 passed=0 skipped=0
for test in tests/interop/*_test.py; do
  read -ra packages < <(sed -n 's/^# pip: //p' "$test")
  if ! "$venv/bin/pip" install --quiet --disable-pip-version-check "${packages[@]}"; then
    echo "SKIPPED: $test (cannot install ${packages[*]})"
    skipped=$((skipped + 1))
  elif "$venv/bin/python" "$test" ./mpq; then
    echo "passed: $test"
    passed=$((passed + 1))
  else
    echo "FAILED: $test"
    failed=$((failed + 1))
  fi
done
echo "interop: $passed passed, $failed failed, $skipped skipped"
((failed == 0))
