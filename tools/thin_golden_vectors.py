"""Make the golden vectors of the repository from the complete set: `python tools/thin_golden_vectors.py FULL PACKAGES`.

FULL holds the complete set, one folder a package; PACKAGES is the repository's `packages`. The complete set is larger
than the test data of a repository should be. What is left out repeats, at another size or in another combination, what
a kept case already tests; numbers are never changed. Each rule says why its part can go. Files without a rule are
copied. Where a test needs the whole of an array, the kept rows come with their numbers under an additional key, which
the test reads if it is there; so the tests take the complete set as well (`GOLDEN_DIR`).
"""

import json
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

Arrays = dict[str, np.ndarray]

LEFT_OUT = {
    # The same losses with 10 classes are kept, and 100 classes in loss_oe_c100 and loss_ada_bin_disc_c100_pascl_T02.
    "imood": [
        *("loss_ada_bin_disc_c100.npz", "loss_ada_energy_c100.npz", "loss_ada_maha_notready_c100.npz"),
        *("loss_ada_maha_ready_c100.npz", "loss_ada_oe_c100.npz", "loss_bin_disc_c100.npz", "loss_energy_c100.npz"),
    ],
}
COMPACT = ("networks.json", "configs.json")  # indentation is most of them
LZMA = (  # 15 to 30 % smaller than with zlib; NumPy reads both
    *("mood_dpa/inference_3d.npz", "mood_dpa/save_2d.npz", "mood_dpa/synthetic.npz", "know_your_space/transforms.npz"),
)
PRED_KEPT = (  # every pair of settings of the prediction occurs
    *("pred/1_28_012_0", "pred/1_None_012_1", "pred/1_None_02_0"),
    *("pred/0_28_02_0", "pred/0_None_012_0", "pred/0_None_02_1"),
)
INF_LEFT_OUT = (  # each repeats the map of a kept case; the mean of a map is kept in inf/0_0_0_mean
    *("inf/0_1_0_mean", "inf/0_0_0_max", "inf/1_1_0_mean", "inf/2_1_0_mean"),
)
LARGE_STAGE = ("r9_res128_extra_dim", "trns_128")  # the transition to 64 and the stable stage of 128 are kept


def every(step: int, n: int) -> np.ndarray:
    """Numbers 0, step, 2 step, … below n."""
    return np.arange(0, n, step)


def first_rows(n: int) -> Callable[[Arrays], Arrays]:
    """Keep the first samples of every array."""
    return lambda arrays: {key: value[:n] for key, value in arrays.items()}


def projector_rows(arrays: Arrays) -> Arrays:
    """05: some rows of one projector, of which `P_diag` holds the diagonal and `P_probe` what it does."""
    rows = every(16, len(arrays["P0_rows"]))
    return arrays | {"P0": arrays["P0"][rows], "P0_rows": arrays["P0_rows"][rows]}


def jacobian_pixels(arrays: Arrays) -> Arrays:
    """06b: `p_J` repeats `J` of 05, which is kept whole."""
    pixels = every(16, arrays["p_J"].shape[1])
    return arrays | {"p_J": arrays["p_J"][:, pixels], "p_J_pixels": pixels}


def first_decoded(arrays: Arrays) -> Arrays:
    """07: one decoded image a class."""
    each = len(arrays["decoded_first3_seed"]) // len(arrays["mean"])
    return arrays | {"decoded_first3_seed": arrays["decoded_first3_seed"][::each]}


def selected_images(arrays: Arrays) -> Arrays:
    """e2e: the training images that the long-tailed selection takes; the program never reads the others."""
    labels, counts = arrays["train_labels"], arrays["class_counts"]
    rows = np.sort(np.concatenate([np.flatnonzero(labels == c)[:n] for c, n in enumerate(counts)]))
    return arrays | {"train_images": arrays["train_images"][rows], "train_rows": rows}


def gradient_rows(arrays: Arrays) -> Arrays:
    """steps: some classes of the gradient of the last layer."""
    rows = every(8, len(arrays["grad_linear_weight"]))
    return arrays | {"grad_linear_weight": arrays["grad_linear_weight"][rows], "grad_linear_weight_rows": rows}


def operators(arrays: Arrays) -> Arrays:
    """augmix_ops: all levels on one image, two levels (and operators without one, level 0) on the others."""

    def kept(key: str) -> bool:
        where, *path = key.split("/")
        if where != "out" or path[0] == "rgb28":
            return True
        alone = f"out/{path[0]}/{path[1]}/1/pos" not in arrays
        return alone or path[2] in ("1", "3")

    return {key: value for key, value in arrays.items() if kept(key)}


def outlier_bases(arrays: Arrays) -> Arrays:
    """transforms: the base of an outlier for the reversed set, one grey set and one other colour set."""
    kept = ("pathmnist", "organamnist", "dermamnist")
    return {k: v for k, v in arrays.items() if not k.endswith("/outlier_base_image") or k.split("/")[0] in kept}


def deep_layers(arrays: Arrays) -> Arrays:
    """losses: r42 with zero padding (r32 has all three); maps of a volume at c22 and r42 (r32: `map2d`, `cube`)."""
    gone = ("feat/replication/r42", "feat/reflect/r42", "map3d/r32/")
    return {key: value for key, value in arrays.items() if not key.startswith(gone)}


def stages(arrays: Arrays) -> Arrays:
    """networks: without the largest transition, a fifth of the file."""
    return {key: value for key, value in arrays.items() if not key.startswith("/".join(LARGE_STAGE) + "/")}


def stages_described(cases: list) -> list:
    """The same in the description of the cases."""
    case, stage = LARGE_STAGE
    return [c | {"nets": {k: v for k, v in c["nets"].items() if (c["name"], k) != (case, stage)}} for c in cases]


def predictions(arrays: Arrays) -> Arrays:
    """inference_3d: a covering part of the combinations of settings."""

    def kept(key: str) -> bool:
        kind, _, rest = key.partition("/")
        case = f"{kind.removesuffix('_index_true')}/{rest.split('/')[0]}"
        return case not in INF_LEFT_OUT and (not case.startswith("pred/") or case in PRED_KEPT)

    return {key: value for key, value in arrays.items() if kept(key)}


def predictions_described(described: dict) -> dict:
    """The same in the description of the cases."""
    maps = [case for case in described["inference_3d"] if case["key"] not in INF_LEFT_OUT]
    averaged = [case for case in described["predict_3d"] if case["key"] in PRED_KEPT]
    named = {case.get("index_true_key") for case in maps + averaged}
    true = {k: [e for e in v if e["key"] in named] for k, v in described["inference_3d_index_true"].items()}
    return described | {"inference_3d": maps, "predict_3d": averaged, "inference_3d_index_true": true}


RULES: dict[str, Callable] = {
    "oodgen/05_jacobian_nullspace.npz": projector_rows,
    "oodgen/06a_offmanifold_seed_port.npz": first_rows(10),
    "oodgen/06b_offmanifold_paper.npz": jacobian_pixels,
    "oodgen/07_onmanifold.npz": first_decoded,
    "oodgen/07b_sphere.npz": first_rows(4),
    "imood/e2e_test_cifar10.npz": selected_images,
    "imood/steps_oe_sgd_c100.npz": gradient_rows,
    "know_your_space/augmix_ops.npz": operators,
    "know_your_space/transforms.npz": outlier_bases,
    "mood_dpa/losses.npz": deep_layers,
    "mood_dpa/networks.npz": stages,
    "mood_dpa/networks.json": stages_described,
    "mood_dpa/inference_3d.npz": predictions,
    "mood_dpa/inference_3d.json": predictions_described,
}


def write_npz(path: Path, arrays: Arrays, method: int) -> None:
    """As `numpy.savez_compressed`, with stronger compression and without the time of writing."""
    with zipfile.ZipFile(path, "w", method, compresslevel=9) as archive:
        for key, value in arrays.items():
            entry = zipfile.ZipInfo(f"{key}.npy")
            entry.compress_type = method
            with archive.open(entry, "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, value, allow_pickle=False)


def thin(source: Path, target: Path) -> None:
    """Write the thinned form of a file."""
    name = f"{source.parent.name}/{source.name}"
    rule = RULES.get(name)
    if source.suffix == ".npz" and (rule or name in LZMA):
        with np.load(source, allow_pickle=False) as arrays:
            kept = rule(dict(arrays)) if rule else dict(arrays)
        write_npz(target, kept, zipfile.ZIP_LZMA if name in LZMA else zipfile.ZIP_DEFLATED)
    elif rule or source.name in COMPACT:
        content = json.loads(source.read_text())
        content = rule(content) if rule else content
        target.write_text(json.dumps(content, separators=(",", ":"), ensure_ascii=False) + "\n")
    else:
        shutil.copyfile(source, target)


def main(full: Path, packages: Path) -> None:
    """Write `tests/golden/data` of every package that the complete set holds."""
    for folder in sorted(path for path in full.iterdir() if path.is_dir()):
        data = packages / folder.name / "tests" / "golden" / "data"
        data.mkdir(parents=True, exist_ok=True)
        kept = [p for p in folder.iterdir() if p.suffix != ".md" and p.name not in LEFT_OUT.get(folder.name, [])]
        for path in kept:
            thin(path, data / path.name)
        for path in set(data.iterdir()) - {data / path.name for path in kept}:
            path.unlink()
        print(f"{folder.name}: {sum(path.stat().st_size for path in data.iterdir()):,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
