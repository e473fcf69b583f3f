# Every stage by itself, then a question; what is on stdout is data alone.
for_demo=(--set source.items=300 --set label.budget=200)

test -z "$(mmsc prepare demo "${for_demo[@]}")"
test "$(mmsc encode --json | jq -r .counts.encoder)" = classic
test "$(mmsc label --model rules --budget 100 --json | jq .counts.labelled)" -eq 100
test "$(mmsc train --epochs 1 --json -q | jq .counts.epochs)" -eq 1
mmsc evaluate --json -q > verdict.json
jq --exit-status '.models.mmsc.substitute.all["ndcg@10"] > 0.1' verdict.json
jq --exit-status '.truth.reliability.substitute.auroc > 0.7' verdict.json
jq --exit-status '.models | has("ease") and has("knn-transfer") and has("resource-allocation")' verdict.json
cmp <(jq --sort-keys . verdict.json) <(jq --sort-keys . workspace/metrics.json)
grep -qi '<html' workspace/report.html
jq --exit-status '.stages | keys == ["encode", "evaluate", "label", "prepare", "train"]' workspace/manifest.json

mmsc evaluate --json -q --fail-under 'complement.all.ndcg@10>=0.01' | jq --exit-status .models.mmsc > /dev/null
