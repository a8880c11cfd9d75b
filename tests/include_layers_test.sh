#!/usr/bin/env bash
# Who may include whom: greps every #include "..." of the program against this table (run by ctest and make check).
set -euo pipefail

declare -A may=(
  [base]="base"
  [tensor]="tensor base"
  [quant]="quant base"
  [search]="search base"
  [data]="data tensor base"
  [kernels]="kernels tensor quant base"
  [cuda]="cuda tensor quant base"
  [autograd]="autograd tensor quant base"
  [nn]="nn autograd tensor quant base"
  [train]="train nn autograd tensor quant data base"
  [app]="app train nn autograd tensor quant data search base"
)

check_layers() {  # check_layers FOLDER: prints every include that the table forbids; fails if there is one
  local file line text room target bad=0
  while IFS=: read -r file line text; do
    room=${file#src/} target=${text#*\"}
    [[ $room == */* ]] && room=${room%%/*} || room=app  # src/main.cpp
    [[ $target == */* ]] && target=${target%%/*} || target="a file without its folder"
    [[ " ${may[$room]} " == *" $target "* ]] || { echo "$file:$line: $room may not include $target"; bad=1; }
  done < <(cd "$1" && grep -srnoE '^ *# *include +"[^"]+' src data kernels cuda --include={*.h,*.cpp,*.cu,*.cuh,*.def,*.inc})
  return $bad
}

planted=$(mktemp -d)
trap 'rm -rf "$planted"' EXIT
mkdir -p "$planted"/{src/base,data,kernels,cuda}
echo '#include "app/command_line.h"' >"$planted/src/base/planted.h"
if check_layers "$planted" >/dev/null; then echo "the check is blind: a planted violation passed"; exit 1; fi

check_layers "$(dirname "$0")/.." && echo "include layers: clean"
