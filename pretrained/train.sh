#!/bin/sh
# Train the weights that are here, from nothing:
#
#     sh pretrained/train.sh BSDS500 WORKDIR
#
# BSDS500 holds the folders train, test (both trained on) and val. WORKDIR/log/blind receives the net for
# the qualities 10 to 40 together, WORKDIR/log/q10, q20, ... those for one each. Stopped or killed, the
# same command goes on where it was. Copied over pretrained/qN (model_checkpoint.*, losses.csv) a net stays
# there where this prints a higher PSNR than before; blind, in pretrained itself, with --ignore-header:
#
#     python benchmarks/quality.py BSDS500/val --quality N
set -eu
suite=$(cd "$(dirname "$0")/.." && pwd)
images=$(cd "$1" && pwd) work=$2
mkdir -p "$work"

train() { # NAME "QUALITY ..." SHRINK STEPS RATE [MORE OPTIONS]
    name=$1 qualities=$2 shrink=$3 steps=$4 rate=$5
    shift 5
    if [ ! -d "$work/records/val_$name" ]; then
        # At a stride of 64 - 2 * 9 each pixel of an image counts once, with --loss-border 9.
        cut="--all --quality $qualities --shrink $shrink --patch-size 64 --stride 46"
        python "$suite/load_train_data.py" "$work" "$images/train" "records/train_$name" --also "$images/test" $cut
        python "$suite/load_val_data.py" "$work" "$images/val" "records/val_$name" $cut
    fi
    python "$suite/train_car.py" "$work" "log/$name" "records/train_$name" "records/val_$name" \
        --residual --loss-border 9 --augment --batch-size 6 --steps "$steps" --optimizer muon \
        --schedule cosine --learning-rate "$rate" --val-every 1000 --val-patches 2000 "$@"
}

train blind "10 20 30 40" 1 36000 2e-3
train q10 10 1 36000 2e-3
for quality in 20 30 40; do
    train "q$quality" "$quality" 1 16000 1e-3 --init log/blind
done
# BSDS500 are JPEGs themselves: at half of their size they are clean enough for fine files.
for quality in 60 80 90 95; do
    train "q$quality" "$quality" 2 8000 1e-3 --init log/blind
done
