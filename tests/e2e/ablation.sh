# What a part is worth, in a trained workspace ($MMSC_WORKSPACE).
mmsc evaluate --baselines none --ablate image --seeds 2 --report verdict.html --json -q > verdict.json
jq --exit-status '.ablation.seeds | length == 2' verdict.json
jq --exit-status '.ablation.parts | keys == ["image"]' verdict.json
jq --exit-status '.ablation.parts.image.substitute.all.verdict | IN("helps", "hurts", "no difference", "cannot tell")' verdict.json
jq --exit-status '.ablation.full.complement.all["ndcg@10"].std != null' verdict.json
cmp verdict.html "$MMSC_WORKSPACE/report.html"
test ! -e "$MMSC_WORKSPACE/.staging/evaluate"

mmsc evaluate --baselines popularity --ablate image --seeds 1 2> notes > /dev/null
grep -q '^image: ' notes
