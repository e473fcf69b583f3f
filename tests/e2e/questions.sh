# Asking a trained workspace ($MMSC_WORKSPACE): the answers of one question are the next one's questions.
item=$1

mmsc infer --item "$item" --relation both -k 5 --format jsonl | jq -r .item |
    mmsc infer --items-from - --relation substitute > substitutes.tsv
test "$(head -1 substitutes.tsv)" = $'query\trelation\trank\titem\tscore\ttitle'
test "$(tail -n +2 substitutes.tsv | wc -l)" -eq 100
test "$(tail -n +2 substitutes.tsv | cut -f2 | sort -u)" = substitute

mmsc infer --item "$item" --relation both -k 200 2> errors | head -1 > first
test "$(wc -l < first)" -eq 1
test ! -s errors

paste <(mmsc infer --item "$item" -k 3 --relation substitute | tail -n +2 | cut -f1,4) | mmsc infer --pairs - --json |
    jq --exit-status '.answers | length == 3 and all(.p_substitute + .p_complement + .p_neither - 1 | fabs < 1e-6)'

echo '{"id": "new", "title": "camera, black"}' | mmsc infer --new - -k 4 --json -q |
    jq --exit-status '.answers | length == 8 and all(.query == "new")'

mmsc infer --item "$item" -k 3 --explain --novel --other-category --format jsonl |
    jq --exit-status --slurp 'all(.reliability == null and .shared_neighbours >= 0 and (.query_gate | length > 0))'
mmsc infer --all --relation both -k 2 --format parquet | head -c 4 > magic
test "$(cat magic)" = PAR1
status=0
printf '{"title": "camera, black"}\n{broken\n' | mmsc infer --new - -k 1 -q > answers.tsv 2> errors || status=$?
test "$status" -eq 1
test "$(wc -l < answers.tsv)" -eq 3
grep -q 'stdin:2' errors

status=0
printf '%s\n' "$item" NOWHERE "$item" | mmsc infer --items-from - -k 1 > answers.tsv 2> errors || status=$?
test "$status" -eq 3
test "$(wc -l < answers.tsv)" -eq 5
grep -q 'nearest ids' errors
