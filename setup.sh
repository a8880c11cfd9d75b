#!/usr/bin/env bash
# Installs what mpq needs to be built, tested and demonstrated on Debian 12, Ubuntu 24.04 or later.
# Where everything is there already it does nothing and needs neither network nor rights. More packages: ./setup.sh NAME ...
set -euo pipefail

packages=(
  build-essential cmake ninja-build pkg-config
  libboost-program-options-dev libfmt-dev libspdlog-dev nlohmann-json3-dev
  libsqlite3-dev libarchive-dev libsentencepiece-dev libutf8proc-dev libopenblas-dev liblinear-dev
  libgtest-dev gnuplot-nox "$@"
)

fail() { printf 'error: %s\nhint: %s\n' "$1" "$2" >&2; exit 2; }

command -v dpkg-query >/dev/null ||
  fail "this is no Debian or Ubuntu, so setup.sh cannot install anything" "install what ${packages[*]} stand for, then run make"

missing=()
for package in "${packages[@]}"; do
  [[ $(dpkg-query -W -f='${Status}' "$package" 2>/dev/null) == "install ok installed" ]] || missing+=("$package")
done
((${#missing[@]})) || exit 0

as_root=()
if (($(id -u) != 0)); then
  command -v sudo >/dev/null || fail "installing packages needs root" "run as root: apt-get install ${missing[*]}"
  as_root=(sudo)
fi
echo "installing: ${missing[*]}"
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q "$@"; }
apt update || echo "warning: apt-get update failed; trying with the package lists at hand" >&2
apt install -y --no-install-recommends "${missing[@]}" ||
  fail "apt-get could not install ${missing[*]}" "its own message stands above; Ubuntu needs the universe component"
