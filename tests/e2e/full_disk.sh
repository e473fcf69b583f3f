# A disk that fills up in each stage in turn: a message, exit 2, nothing half-written. $1 is an empty folder of 600 KiB
# that can be mounted again with another size by root.
disk=$1
for size in 600k 1500k 3m; do
    mount -o remount,size="$size" "$disk"
    rm -rf "$disk/workspace"
    status=0
    mmsc run demo -w "$disk/workspace" --set source.items=300 --set train.epochs=1 -q > out 2> errors || status=$?
    test "$status" -eq 2
    test ! -s out
    test "$(wc -l < errors)" -le 2
    grep -q 'the disk is full' errors
    test -z "$(find "$disk/workspace/.staging" -mindepth 1)"
    rm -rf made recorded
    find "$disk/workspace" -mindepth 1 -maxdepth 1 ! -name '.*' ! -name manifest.json \
        ! -name training ! -name encoding -printf '%f\n' | sort > made
    (jq -r '.stages[].outputs | keys[]' "$disk/workspace/manifest.json" 2> /dev/null || true) | sort > recorded
    cmp made recorded
done
