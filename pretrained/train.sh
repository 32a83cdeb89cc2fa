#!/bin/sh
# One more round of training for the sets of weights here, each from what it is now:
#
#     sh pretrained/train.sh BSDS500 WORKDIR [STEPS] [QUALITY ...]
#
# BSDS500 holds the folders train, test (both trained on) and val. WORKDIR/log/q10, q20, ... receive the new
# sets, by default after 20000 steps; stopped or killed, the same command goes on where it was. A set replaces
# pretrained/qN (model_checkpoint.* and losses.csv) where this prints a higher PSNR for it than for that one:
#
#     python benchmarks/quality.py BSDS500/val --quality N --weights WORKDIR/log/qN
set -eu
suite=$(cd "$(dirname "$0")/.." && pwd)
images=$(cd "$1" && pwd) work=$2 steps=${3:-20000}
mkdir -p "$work"
shift $(($# < 3 ? $# : 3))
for quality in ${*:-10 20 30 40 60 80 90 95}; do
    # BSDS500 are JPEGs themselves: at half of their size they are clean enough for fine files.
    shrink=$((quality < 60 ? 1 : 2))
    set -- --all --quality "$quality" --shrink "$shrink" --patch-size 96
    if [ ! -d "$work/records/val_$quality" ]; then
        python "$suite/load_train_data.py" "$work" "$images/train" "records/train_$quality" --also "$images/test" "$@"
        python "$suite/load_val_data.py" "$work" "$images/val" "records/val_$quality" "$@"
    fi
    python "$suite/train_car.py" "$work" "log/q$quality" "records/train_$quality" "records/val_$quality" \
        --init "$suite/pretrained/q$quality" --residual --loss-border 9 --augment --batch-size 4 --steps "$steps" \
        --optimizer muon --schedule cosine --learning-rate 7e-4 --val-every 500 --val-patches 1000
done
