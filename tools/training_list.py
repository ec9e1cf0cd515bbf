"""The trainings behind the tables: what is trained, with which commands, how long it takes. Used by `trainings.py` and,
for the page `docs/reproduction.md`, by `reproduction.py`; of the standard library alone. Those that take a GPU stand in
`gpu_training_list`, those of oodgen in `oodgen_training_list`.
"""

from oodgen_training_list import OODGEN
from training import MNISTS, Training

PNEUMONIA = "pneumoniamnist/pneumoniamnist.npz|medmnist/pneumoniamnist.npz|pneumoniamnist.npz"
CIFAR = ("cifar10_imagefolder.tar.gz", *(f"ood32_{name}.tar.gz" for name in ("tinyimagenet", "textures", "scenes")))
RADIOGRAPHS = ("chest_xray224.tar", "mednist64.tar.gz")

TRAININGS = (
    *OODGEN,
    Training(
        "mood_dpa_hard_subjects",
        "mood_dpa",
        "hard embedded subjects at 64³: plain rules, L1, perceptual, SimCLR, three seeds",
        "MOOD data at 256³, 50,000 iterations a stage",
        "small networks, 200 steps a stage",
        1.0,
        ("benchmarks/compare_hard.py --work {own}/runs --output {own}/result.json",),
        keep="hard_subjects.json",
    ),
    Training(
        "mood_dpa_hard_subjects_128",
        "mood_dpa",
        "the same at 128³, one seed",
        "MOOD data at 256³, 50,000 iterations a stage",
        "small networks, slices of 64 pixels, 200 steps a stage",
        0.8,
        (
            "benchmarks/compare_hard.py --side 128 --slice-size 64 --seeds 0 --work {own}/runs "
            "--output {own}/result.json",
        ),
        keep="hard_subjects_128.json",
    ),
    Training(
        "ascood_spurious_digits",
        "ascood",
        "waterbirds in miniature: digits on textures, six scores, three seeds",
        "ResNet18 at 224 pixels, ImageNet start, 30 epochs",
        "a small ResNet from scratch, 30 epochs, then seven trainings of 10 or 30",
        1.6,
        ("benchmarks/spurious_digits.py --work {own}/runs --output {own}/result.json",),
        keep="spurious_digits.json",
    ),
    Training(
        "ascood_cifar10",
        "ascood",
        "CIFAR-10: cross-entropy and ASCOOD, six scores, three seeds",
        "ResNet18, 100 epochs",
        "a quarter of the channels, 10 epochs, 4,900 of 5,000 images a class, bf16",
        3.5,
        (
            "benchmarks/compare_cifar10.py --data {data} --work {own}/runs --seeds 0 1 2 --epochs 10 --per-class 4900 "
            "--precision bf16 --output {own}/result.json",
        ),
        keep="ascood_cifar10.json",
        needs=CIFAR,
    ),
    Training(
        "imood_cifar10_lt_seeds",
        "imood",
        "CIFAR10-LT, ratio 0.01: bin_disc (τ = 1 and 0) and ada_bin_disc, both posteriors, three seeds",
        "ResNet18, 180 epochs, batches of 256",
        "16 instead of 64 channels, 8 epochs, batches of 128",
        1.0,
        (
            "benchmarks/real_cifar.py {data} --work {own}/runs --epochs 8 --metrics bin_disc --seeds 0,1,2 --tau0 "
            "--out {own}/result.json",
        ),
        keep="cifar10_lt_seeds.json",
        needs=(*CIFAR, "aux_tinyimagenet32.tar.gz"),
    ),
    Training(
        "imood_cifar10_lt",
        "imood",
        "CIFAR10-LT, ratio 0.01: oe, energy, bin_disc, each plain and `ada_`, one seed",
        "ResNet18, 180 epochs, batches of 256",
        "16 instead of 64 channels, 60 epochs, batches of 128, bf16; not run, the numbers above are of `--epochs 8`",
        5.2,
        ("benchmarks/real_cifar.py {data} --work {own}/runs --epochs 60 --out {own}/result.json",),
        keep="imood_cifar10_lt.json",
        needs=(*CIFAR, "aux_tinyimagenet32.tar.gz"),
    ),
    Training(
        "know_your_space_ablation",
        "know_your_space",
        "spaces of inliers and outliers, all combinations, three seeds",
        "WRN-40-2, 100 epochs",
        "a small network, few epochs",
        0.6,
        ("benchmarks/ablation.py --data {data} --work {own}/runs --output {own}/result.json",),
        keep="ablation.json",
        needs=(PNEUMONIA, *RADIOGRAPHS, "ood32_textures.tar.gz"),
    ),
    Training(
        "know_your_space_contrast",
        "know_your_space",
        "PneumoniaMNIST: why chest X-rays of high contrast pass for training images, three seeds",
        "WRN-40-2, 100 epochs",
        "WRN-10-1, 5 epochs",
        0.6,
        ("benchmarks/contrast.py --data {data} --work {own}/runs --output {own}/result.json",),
        keep="contrast.json",
        needs=(PNEUMONIA, *RADIOGRAPHS),
    ),
    Training(
        "know_your_space_pneumoniamnist",
        "know_your_space",
        "PneumoniaMNIST, plain and calibrated, one seed",
        "WRN-40-2, 100 epochs (other MedMNIST sets)",
        "WRN-40-2, 60 epochs, bf16",
        3.7,
        (
            "benchmarks/medical.py --data {data} --work {own}/runs --output {own}/result.json --seeds 1 --epochs 60 "
            "--layers 40 --precision bf16",
        ),
        keep="know_your_space_pneumoniamnist.json",
        needs=(PNEUMONIA, *RADIOGRAPHS, "ood32_textures.tar.gz", MNISTS[0]),
    ),
)
