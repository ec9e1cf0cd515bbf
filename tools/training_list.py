"""The trainings behind the tables: what is trained, with which commands, how long it takes. Used by `trainings.py` and,
for the page `docs/reproduction.md`, by `reproduction.py`; of the standard library alone. Those that take a GPU stand in
`gpu_training_list`.

A command's words are filled with {data} (folder of the data sets), {own} (the training's folder) and {other} (that of
the training it follows); `copy A B` copies a folder.
"""

from dataclasses import dataclass
from pathlib import Path

VAE = "--epochs 100 --batch_size 128 --opt rmsprop --lr 0.001 --momentum 0.0 --gpu_id 0 --seed False"
CLASSIFIER = "--epochs 200 --batch_size 256 --opt ada --lr 0.05 --momentum 0.0 --gpu_id 0 --seed 1"
RESULT = "result.json"
MNISTS = ("MNIST/raw", "FashionMNIST/raw")
PNEUMONIA = "pneumoniamnist/pneumoniamnist.npz|medmnist/pneumoniamnist.npz|pneumoniamnist.npz"
CIFAR = ("cifar10_imagefolder.tar.gz", *(f"ood32_{name}.tar.gz" for name in ("tinyimagenet", "textures", "scenes")))
RADIOGRAPHS = ("chest_xray224.tar", "mednist64.tar.gz")


@dataclass(frozen=True)
class Training:
    """One training.

    Attributes:
        name: of its folder.
        package: whose code runs, in whose folder of the clone.
        what: for people.
        paper: network and schedule of the paper.
        here: those of the commands.
        hours: of one thread of a two-core CPU; None where it takes a GPU and was not measured.
        commands: in order.
        result: file in its folder.
        keep: name of the file below the package's `results` that the result is copied to; None keeps nothing.
        after: name of a training whose files it needs.
        needs: what the folder of the data sets must hold for it; `a|b` is one of the two.
        unit: of what its runs count.
    """

    name: str
    package: str
    what: str
    paper: str
    here: str
    hours: float | None
    commands: tuple[str, ...]
    result: str = RESULT
    keep: str | None = None
    after: str | None = None
    needs: tuple[str, ...] = ()
    unit: str = "epochs"

    @property
    def needs_data(self) -> bool:
        """Whether a command reads the folder of the data sets."""
        return any("{data}" in command for command in self.commands)

    def lacking(self, data: Path) -> list[str]:
        """What of `needs` a folder does not hold."""
        return [words for words in self.needs if not any((data / word).exists() for word in words.split("|"))]


def _oodgen(family: str, other: str) -> list[Training]:
    """The documented commands with one decoder and three ways to use it."""
    decoder = Training(
        f"oodgen_{family}_vae",
        "oodgen",
        f"the documented decoder, all 60,000 images of {family}",
        "up to 100 epochs",
        "100 epochs",
        0.6,
        (
            f"-m oodgen prepare {family} {{own}}/data/{family} --data-dir {{data}}",
            f"-m oodgen train_vae --in_data {{own}}/data/{family} --save_path {{own}}/result {VAE}",
        ),
        "result/vae/configuration.json",
        needs=(MNISTS[family == "fmnist"],),
    )
    found = [decoder]
    for name, direction, more, what, hours in (
        ("uniform", "normal", "", "directions uniform in the null space", 2.0),
        ("rref", "rref", "", "the authors' directions (reduced echelon form)", 2.0),
        ("rref_recon", "rref", " --id_recon", "the authors' directions, reconstructions as ID images (ours)", 2.7),
    ):
        images, result = f"{{own}}/data/{family}", "{own}/result"
        generate = (
            f"-m oodgen gen_ood --data {images} --model_path {result} --model_epoch 100 --batch_size 1000 --seed 1"
        )
        found.append(
            Training(
                f"oodgen_{family}_{name}",
                "oodgen",
                f"the documented classifier on {family}, {what}",
                "200 epochs",
                "200 epochs",
                hours,
                (
                    f"-m oodgen prepare {family} {images} --data-dir {{data}}",
                    f"-m oodgen prepare {other} {{own}}/data/{other} --data-dir {{data}}",
                    f"copy {{other}}/result/vae {result}/vae",
                    f"{generate} --dataset train --direction {direction}",
                    f"{generate} --dataset test --direction {direction}",
                    f"-m oodgen train_classi --in_data {images} --save_path {result} {CLASSIFIER}{more}",
                    f"-m oodgen test --in_data {images} --out_data {{own}}/data/{other},gaussian,uniform,sphere "
                    f"--model_path {result} --save_path {result} --model_epoch 200 --seed 1",
                ),
                "result/result.json",
                f"oodgen_{family}_{name}.json",
                decoder.name,
                needs=MNISTS,
            )
        )
    return found


TRAININGS = (
    *_oodgen("fmnist", "mnist"),
    *_oodgen("mnist", "fmnist"),
    Training(
        "oodgen_directions",
        "oodgen",
        "Fashion-MNIST: decoder, directions and reconstructions, all eight combinations, three seeds",
        "–",
        "10,000 images, 12 epochs",
        4.0,
        ("benchmarks/decoder_directions.py --data-dir {data} --work {own}/runs --output {own}/result.json",),
        keep="decoder_directions.json",
        needs=MNISTS,
    ),
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
        "CIFAR-10: cross-entropy and ASCOOD, six scores, one seed",
        "ResNet18, 100 epochs",
        "a quarter of the channels, 30 epochs, all images",
        6.0,
        (
            "benchmarks/compare_cifar10.py --data {data} --work {own}/runs --seeds 0 --epochs 30 --per-class 5000 "
            "--output {own}/result.json",
        ),
        keep="ascood_cifar10.json",
        needs=CIFAR,
    ),
    Training(
        "imood_cifar10_lt_seeds",
        "imood",
        "CIFAR10-LT, ratio 0.01: bin_disc and ada_bin_disc, published and consistent posterior, three seeds",
        "ResNet18, 180 epochs, batches of 256",
        "16 instead of 64 channels, 8 epochs, batches of 128",
        0.7,
        (
            "benchmarks/real_cifar.py {data} --work {own}/runs --epochs 8 --metrics bin_disc --seeds 0,1,2 "
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
        "16 instead of 64 channels, 60 epochs, batches of 128",
        4.2,
        ("benchmarks/real_cifar.py {data} --work {own}/runs --epochs 60 --precision fp32 --out {own}/result.json",),
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
        "WRN-40-2, 100 epochs",
        7.1,
        (
            "benchmarks/medical.py --data {data} --work {own}/runs --output {own}/result.json --seeds 1 --epochs 100 "
            "--layers 40 --precision fp32",
        ),
        keep="know_your_space_pneumoniamnist.json",
        needs=(PNEUMONIA, *RADIOGRAPHS, "ood32_textures.tar.gz", MNISTS[0]),
    ),
)
