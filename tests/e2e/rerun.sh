# `mmsc run` does what is needed and nothing else.
run() { mmsc run demo --set source.items=300 --set label.budget=200 --set train.epochs=1 --json -q "$@" | jq -c .stages; }
state() { find workspace -type f ! -name .lock -exec sha256sum {} + | sort -k 2; find workspace -printf '%p %T@\n' | sort; }

test "$(run | jq -c 'to_entries | map(.value) | unique')" = '["done"]'
state > before
test "$(run | jq -c 'to_entries | map(.value) | unique')" = '["up to date"]'
state > after
cmp before after

test "$(run --set evaluate.bootstrap=50)" = \
    '{"prepare":"up to date","encode":"up to date","label":"up to date","train":"up to date","evaluate":"done"}'
test "$(run --set evaluate.bootstrap=50 --set label.budget=50)" = \
    '{"prepare":"up to date","encode":"up to date","label":"done","train":"done","evaluate":"done"}'
