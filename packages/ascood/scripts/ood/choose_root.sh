# To be sourced. Prints the first of the given folders that exists; the first one is where the published runs are, the
# others where the training script writes. A --root among the arguments of the script makes the choice needless.
choose_root() {
    local candidate
    for candidate in "$@"; do
        if [ -d "$candidate" ]; then
            if [ "$candidate" != "$1" ]; then echo "no $1; testing $candidate" >&2; fi
            echo "$candidate"
            return 0
        fi
    done
    echo "$(basename "$0"): error: no such folder: $*. Train first (the training script beside this one), or fetch the" \
        "published runs (scripts/download/download_ascood.sh), or pass --root." >&2
    return 2
}
