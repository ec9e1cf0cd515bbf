#!/usr/bin/env bash
# Make the auxiliary (extra_1k, 500 synsets) and the test outliers (ood_test_1k, 1000 synsets of 50 images) of the
# ImageNet-LT benchmark from the ImageNet-10K archive.
#
#     bash datasets/ImageNet_LT/get_imagenet10k.sh [--drp DIR] [--check] [--yes] [--winter21]
#
#     --drp DIR     data folder (default: $DATA, else ./data)
#     --check       only count what is there
#     --yes         download without asking: about 700 GB, twice that when unpacked
#     --winter21    fetch one archive for each of the 1500 synsets instead of the whole
#
# Both lists are fixed files beside this script; nothing is drawn. Finished parts are not made again.
set -euo pipefail
lists=$(cd "$(dirname "$0")" && pwd)
data=${DATA:-./data} check=no yes=no winter=no
while [ $# -gt 0 ]; do
    case $1 in
        --drp) data=${2:?--drp needs a folder}; shift 2 ;;
        --check) check=yes; shift ;;
        --yes) yes=yes; shift ;;
        --winter21) winter=yes; shift ;;
        *) echo "get_imagenet10k.sh: error: unknown argument \`$1\`. Known: --drp, --check, --yes, --winter21." >&2; exit 2 ;;
    esac
done
source=$data/imagenet10k extra=$data/imagenet/extra_1k test=$data/imagenet/ood_test_1k
archive=imagenet10k_eccv2010.tar whole=https://image-net.org/data/$archive single=https://image-net.org/data/winter21_whole
per_synset=50

folders() { if [ -d "$1" ]; then find -L "$1" -mindepth 1 -maxdepth 1 -type d | wc -l; else echo 0; fi; }
images() { if [ -d "$1" ]; then find -L "$1" -mindepth 2 -name '*.JPEG' | wc -l; else echo 0; fi; }
count() {
    echo "extra_1k: $(folders "$extra") of $(wc -l < "$lists/wnids_extra.txt") synsets"
    echo "ood_test_1k: $(folders "$test") of $(wc -l < "$lists/wnids_ood_test.txt") synsets, $(images "$test") images"
}
if [ $check = yes ]; then count; exit 0; fi

# A synset is there when its folder is, or its archive, from which the folder is unpacked.
missing=()
while read -r wnid; do
    [ -d "$source/$wnid" ] || [ -f "$source/$wnid.tar" ] || missing+=("$wnid")
done < <(cat "$lists/wnids_extra.txt" "$lists/wnids_ood_test.txt")

if [ ${#missing[@]} -gt 0 ] && [ -f "$data/$archive" ]; then
    mkdir -p "$source"
    tar -xf "$data/$archive" -C "$source" --strip-components=1 --wildcards '*.tar' ||
        tar -xf "$data/$archive" -C "$source"
    missing=()
elif [ ${#missing[@]} -gt 0 ]; then
    if [ $yes = no ]; then
        if [ ! -t 0 ]; then
            echo "get_imagenet10k.sh: error: ${#missing[@]} synsets are missing in $source. Put $archive into $data, or" \
                "pass --yes to download it (about 700 GB)." >&2
            exit 2
        fi
        read -r -p "${#missing[@]} synsets are missing. Download from image-net.org (up to 700 GB)? [y/N] " answer
        [ "$answer" = y ] || exit 2
    fi
    mkdir -p "$source"
    if [ $winter = yes ]; then
        for wnid in "${missing[@]}"; do
            curl --fail --location --continue-at - --output "$source/$wnid.tar.part" "$single/$wnid.tar"
            mv "$source/$wnid.tar.part" "$source/$wnid.tar"
        done
    else
        curl --fail --location --continue-at - --output "$data/$archive.part" "$whole"
        mv "$data/$archive.part" "$data/$archive"
        tar -xf "$data/$archive" -C "$source"
    fi
fi

unpack() { # the folder of a synset, made whole or not at all
    [ -d "$source/$1" ] && return
    [ -f "$source/$1.tar" ] || { echo "get_imagenet10k.sh: error: $source/$1.tar is missing." >&2; exit 2; }
    rm -rf "$source/$1.part"
    mkdir "$source/$1.part"
    tar -xf "$source/$1.tar" -C "$source/$1.part"
    mv "$source/$1.part" "$source/$1"
}

mkdir -p "$extra" "$test"
while read -r wnid; do
    unpack "$wnid"
    [ -e "$extra/$wnid" ] || ln -s "$(cd "$source/$wnid" && pwd)" "$extra/$wnid"
done < "$lists/wnids_extra.txt"
while read -r wnid; do
    [ -d "$test/$wnid" ] && continue
    unpack "$wnid"
    rm -rf "$test/$wnid.part"
    mkdir "$test/$wnid.part"
    find "$(cd "$source/$wnid" && pwd)" -maxdepth 1 -name '*.JPEG' | LC_ALL=C sort | awk -v n=$per_synset 'NR <= n' |
        xargs -r -d '\n' ln -s -t "$test/$wnid.part"
    mv "$test/$wnid.part" "$test/$wnid"
done < "$lists/wnids_ood_test.txt"
count
