#!/bin/sh
# Train the weights that are here, from nothing:
#
#     sh pretrained/train.sh BSDS500 WORKDIR [SET ...]
#
# BSDS500 holds the folders train, test (both trained on) and val. SET: blind, q10, q20, q30, q40, q60, q80,
# q85, q90 or q95; all of them if none is named, and blind comes before the others but q10. WORKDIR/log/blind
# receives the net for the qualities 10 to 40 together, WORKDIR/log/qN those for one each (first_qN those of
# 90 and 95, which have no last round by header). Stopped or killed, the same command goes on where it was.
# Copied over pretrained/qN (model_checkpoint.*, losses.csv) a net stays there where this prints a higher PSNR
# than before; blind, in pretrained itself, with --ignore-header:
#
#     python benchmarks/quality.py BSDS500/val --quality N
set -eu
suite=$(cd "$(dirname "$0")/.." && pwd)
images=$(cd "$1" && pwd) work=$2
shift 2
sets=" ${*:-blind q10 q20 q30 q40 q60 q80 q85 q90 q95} "
mkdir -p "$work"

wanted() { # SET
    case $sets in *" $1 "*) ;; *) return 1 ;; esac
}

cut() { # RECORDS SHRINK PATCH STRIDE QUALITY ...
    records=$1 shrink=$2 patch=$3 stride=$4
    shift 4
    [ -d "$work/records/val_$records" ] && return
    how="--all --quality $* --shrink $shrink --patch-size $patch --stride $stride"
    python "$suite/load_train_data.py" "$work" "$images/train" "records/train_$records" --also "$images/test" $how
    python "$suite/load_val_data.py" "$work" "$images/val" "records/val_$records" $how
}

train() { # LOG RECORDS STEPS RATE [MORE OPTIONS]
    log=$1 records=$2 steps=$3 rate=$4
    shift 4
    python "$suite/train_car.py" "$work" "log/$log" "records/train_$records" "records/val_$records" \
        --residual --steps "$steps" --optimizer muon --schedule cosine --learning-rate "$rate" \
        --val-every 1000 --val-patches 2000 "$@"
}

by_pixels() { # LOG RECORDS STEPS RATE [MORE OPTIONS]: the loss of what the net puts out
    train "$@" --loss-border 9 --augment --batch-size 6
}

by_header() { # LOG RECORDS STEPS RATE [MORE OPTIONS]: the loss of what correction keeps of it
    train "$@" --loss-border 16 --by-header --mirror --batch-size 4
}

fit_gains() { # LOG QUALITY SHRINK
    python "$suite/pretrained/fit_gains.py" "$work/log/$1" "$2" "$images/train" "$images/test" --shrink "$3"
}

# The sets: quality, shrink, steps by pixels, steps by header, rate and start of the former. BSDS500 are JPEGs
# themselves: at half of their size they are clean enough for fine files.
# At a stride of 64 - 2 * 9 each pixel of an image counts once, with --loss-border 9. By header, patches and
# what counts of them are whole blocks.
if wanted blind; then
    cut blind 1 64 46 10 20 30 40
    by_pixels blind blind 36000 2e-3
fi
while read -r quality shrink first last start; do
    wanted "q$quality" || continue
    cut "q$quality" "$shrink" 64 46 "$quality"
    by_pixels "first_q$quality" "q$quality" "$first" $start
    fit_gains "first_q$quality" "$quality" "$shrink"
    [ "$last" = 0 ] && continue
    cut "blocks_q$quality" "$shrink" 96 56 "$quality"
    by_header "q$quality" "blocks_q$quality" "$last" 1e-3 --init "log/first_q$quality"
done <<END
10 1 36000 10000 2e-3
20 1 16000 10000 1e-3 --init log/blind
30 1 16000  6000 1e-3 --init log/blind
40 1 16000 10000 1e-3 --init log/blind
60 2 12000  3000 1e-3 --init log/blind
80 2 12000  3000 1e-3 --init log/blind
85 2 12000  3000 1e-3 --init log/blind
90 2 12000     0 1e-3 --init log/blind
95 2 12000     0 1e-3 --init log/blind
END
