#!/usr/bin/env bash
# An installation without extras, judged from outside: `tests/smoke.sh BIN`, BIN being the folder of its `mmsc`.
set -euo pipefail
mmsc="$(cd "$1" && pwd)/mmsc"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

"$mmsc" --version
"$mmsc" --help > /dev/null
"$mmsc" recipes list | grep '^demo' > /dev/null
"$mmsc" recipes copy my-shop shop.toml
"$mmsc" doctor
"$mmsc" run demo --set source.items=200 --set label.budget=100 --set train.epochs=1
# Any item will do.
item=$("$(dirname "$mmsc")/python" -c \
    'import pyarrow.parquet as p; print(p.read_table("workspace/items.parquet")["item_id"][0])')
test "$("$mmsc" infer --item "$item" --relation both -k 3 | wc -l)" -eq 7
"$mmsc" infer --item "$item" -k 3 --format table
echo "smoke test passed"
