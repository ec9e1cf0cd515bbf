"""The long trainings of oodgen; see `training_list`."""

from training import MNISTS, Training

VAE = "--epochs 100 --batch_size 128 --opt rmsprop --lr 0.001 --momentum 0.0 --gpu_id 0 --seed False"
CLASSIFIER = "--epochs 200 --batch_size 256 --opt ada --lr 0.05 --momentum 0.0 --gpu_id 0 --seed 1"


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
        ("uniform", "normal", "", "directions normal (uniform on the sphere of the null space)", 2.0),
        ("rref", "rref", "", "directions rref, the authors'", 2.0),
        ("rref_recon", "rref", " --id_recon", "directions rref, reconstructions as ID images (ours)", 2.7),
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


def _oodgen_by_the_authors() -> Training:
    """The authors' own procedure on the classes 0 to 4 of MNIST; the others are what it has to find."""
    images, ways = "{own}/data/mnist", "--mode paper --classes 0-4 --seed 1"
    return Training(
        "oodgen_mnist_0-4_paper",
        "oodgen",
        "`--mode paper`, MNIST 0–4: their networks, early stopping, outliers made anew while training",
        "150 epochs",
        "150 epochs",
        3.0,
        (
            f"-m oodgen prepare mnist {images} --data-dir {{data}}",
            "-m oodgen prepare fmnist {own}/data/fmnist --data-dir {data}",
            f"-m oodgen train_vae --in_data {images} --save_path {{own}}/result {ways}",
            f"-m oodgen gen_ood --data {images} --model_path {{own}}/result --dataset test {ways}",
            f"-m oodgen train_classi --in_data {images} --save_path {{own}}/result {ways}",
            f"-m oodgen test --in_data {images} --out_data {{own}}/data/fmnist,gaussian,uniform,sphere "
            f"--model_path {{own}}/result --save_path {{own}}/result {ways}",
        ),
        "result/result.json",
        "oodgen_mnist_0-4_paper.json",
        needs=MNISTS,
    )


def _oodgen_short() -> Training:
    """The authors' own procedure on Fashion-MNIST with their values, all images, a short classifier, three seeds."""
    return Training(
        "oodgen_fmnist_paper",
        "oodgen",
        "`--mode paper`, Fashion-MNIST: one decoder that stops by itself, three classifiers",
        "200 epochs, lr 0.01",
        "5 epochs, lr 0.5, bf16",
        1.3,
        (
            "benchmarks/paper_mode.py --id fmnist --data-dir {data} --work {own}/runs --epochs 5 --lr 0.5 "
            "--test-epochs 1,5 --precision bf16 --output {own}/result.json",
        ),
        keep="paper_mode_fmnist.json",
        needs=MNISTS,
    )


def _oodgen_ablation(family: str, classes: str) -> Training:
    return Training(
        f"oodgen_ablation_{family}_{classes}",
        "oodgen",
        f"the ablation and five other detectors on {family}, classes {classes}, three seeds",
        "100 and 150 to 200 epochs, all images",
        "10,000 images, 10 epochs each",
        0.3,
        (
            f"benchmarks/compare.py --id {family} --classes {classes} --vae-epochs 10 --epochs 10 --data-dir {{data}} "
            "--output {own}/result.json",
        ),
        keep=f"compare_{family}_{classes}.json",
        needs=MNISTS,
    )


OODGEN = (
    *_oodgen("fmnist", "mnist"),
    *_oodgen("mnist", "fmnist"),
    _oodgen_by_the_authors(),
    _oodgen_short(),
    *(_oodgen_ablation(family, classes) for family in ("mnist", "fmnist") for classes in ("all", "0-4")),
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
)
