#!/usr/bin/env bash
# Fetches the IMDb reviews (Maas et al., ACL 2011; 84 MB) and BERT's uncased vocabulary (232 kB) to where
# `mpq ... --data imdb` looks for them. An interrupted download goes on where it stopped; a file that is there and
# right is not fetched again. The archive stays packed: mpq reads it as it is.
#
#   data/fetch_imdb.sh [FOLDER]      default: $XDG_CACHE_HOME/mpq/imdb or ~/.cache/mpq/imdb
#
# MPQ_IMDB_URL and MPQ_VOCAB_URL name other places to fetch from (a mirror, file:///...); the checksums stay.
set -euo pipefail

folder=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/mpq/imdb}
imdb_url=${MPQ_IMDB_URL:-https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz}
imdb_sha256=c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe
vocab_url=${MPQ_VOCAB_URL:-https://huggingface.co/google-bert/bert-base-uncased/resolve/main/vocab.txt}
vocab_sha256=07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3

fail() { printf 'error: %s\nhint: %s\n' "$1" "$2" >&2; exit 2; }

has_sum() { [[ -f $1 && $(sha256sum <"$1" | cut -d' ' -f1) == "$2" ]]; }  # has_sum FILE SHA256

fetch() {  # fetch URL SHA256 FILE
  local url=$1 sum=$2 file=$3
  if has_sum "$file" "$sum"; then echo "$file: there already"; return; fi
  echo "fetching $url"
  # What an earlier run fetched wholly is not asked for again: a server refuses to resume behind the end.
  has_sum "$file.part" "$sum" ||
    curl --fail --location --retry 3 --continue-at - --output "$file.part" "$url" ||
    fail "cannot fetch $url" "run this again to go on where it stopped, or remove $file.part to begin anew"
  if ! has_sum "$file.part" "$sum"; then
    rm -f "$file.part"
    fail "$url is not the file expected (SHA-256 $sum); it was removed" "run this again, or name another place in MPQ_IMDB_URL or MPQ_VOCAB_URL"
  fi
  mv "$file.part" "$file"
  echo "$file: fetched, checksum right"
}

command -v curl >/dev/null || fail "curl is missing" "apt-get install curl"
mkdir -p "$folder"
fetch "$imdb_url" "$imdb_sha256" "$folder/aclImdb_v1.tar.gz"
fetch "$vocab_url" "$vocab_sha256" "$folder/bert-base-uncased-vocab.txt"
