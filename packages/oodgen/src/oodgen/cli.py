"""The four scripts and the console command with their flags; every default value is in `defaults`.

`oodgen train_vae …` is `python train_vae.py …`; beside the four steps there are `prepare`, `bench` and
the verbs of all packages (`ood_shared.verbs`).
"""

from collections.abc import Callable, Sequence

from ood_shared.cli import Parser, add_shared_flags, deferred, dispatch, run_command
from ood_shared.flags import below_one, data_word, not_negative, not_negative_int, positive, positive_int, truth
from ood_shared.verbs import ABOUT as VERBS
from ood_shared.verbs import BENCH, verbs

from oodgen import bench, defaults, flags
from oodgen.defaults import DEFAULT_OOD


def vae_parser() -> Parser:
    """Flags of train_vae.py (step 1)."""
    parser = Parser(prog="train_vae.py", description="Train the conditional VAE on the in-distribution images.")
    flag = flags.adder(parser, defaults.TRAIN_VAE)
    flag("--epochs", positive_int, "epochs")
    flag("--batch_size", positive_int, "images per step")
    flags.gpu_flag(parser)
    flag("--lr", positive, "learning rate")
    flag("--opt", str, "optimizer; ada is Adadelta", choices=("rmsprop", "ada"))
    flag("--momentum", below_one, "momentum of rmsprop, below 1")
    flags.id_flag(parser, "--in_data")
    flags.save_flag(parser)
    flags.seed_flag(parser)
    flag("--loss", str, "elbo: binary cross-entropy + KL; mse: the published code", choices=("elbo", "mse"))
    flag("--latent_dim", positive_int, "dimension of the latent space; in paper mode 10 for fmnist")
    parser.add_argument("--weight_decay", type=not_negative, help="default: 0, with --opt ada 0.001")
    flag("--save_every", positive_int, "keep model_<epoch>.pth of every N-th epoch; model.pth is always kept")
    flag(
        "--patience", not_negative_int, "stop after N epochs without a better validation loss, keep the best; 0: never"
    )
    flags.common_flags(parser, defaults.TRAIN_VAE, trains=True)
    return parser


def generation_parser() -> Parser:
    """Flags of gen_ood.py (step 2)."""
    parser = Parser(prog="gen_ood.py", description="Make outliers off and on the data manifold with a trained VAE.")
    flag = flags.adder(parser, defaults.GEN_OOD)
    flag("--batch_size", positive_int, "images per chunk")
    flags.epoch_flag(parser, 100)
    flags.gpu_flag(parser)
    parser.add_argument("--model_path", default="./result", help="folder that train_vae wrote to (default: ./result)")
    flags.id_flag(parser, "--data")
    parser.add_argument(
        "--dataset",
        default="train",
        choices=("train", "test"),
        help="split to start from and to write (default: train)",
    )
    flags.seed_flag(parser)
    flags.generation_flags(flag)
    flag(
        "--num_ood", flags.outlier_count, "outliers per type; below 1 a fraction of the images; default: one per image"
    )
    flags.common_flags(parser, {"normalize": ("of a VAE trained with mse, as in its training",) * 3})
    return parser


def classifier_parser() -> Parser:
    """Flags of train_classi.py (step 3)."""
    parser = Parser(prog="train_classi.py", description="Train the n+1 classifier on images and generated outliers.")
    flag = flags.adder(parser, defaults.TRAIN_CLASSI)
    flag("--epochs", positive_int, "epochs")
    flag("--batch_size", positive_int, "images per step")
    flags.gpu_flag(parser)
    flag("--lr", positive, "learning rate")
    flag("--opt", str, "optimizer; ada is Adadelta", choices=("sgd", "ada"))
    flag("--momentum", below_one, "momentum of sgd, below 1")
    flags.id_flag(parser, "--in_data")
    flags.save_flag(parser)
    flags.seed_flag(parser)
    flag("--weight_decay", not_negative, "weight decay")
    flag(
        "--double_softmax",
        truth,
        "cross-entropy of probabilities, as the published code has it",
        nargs="?",
        const=True,
    )
    flag("--ood_weight", flags.outlier_weight, "weight of the outlier class: counts, fixed (0.2) or a number")
    flag("--ood_types", str, "type of the generated outliers to train with", choices=flags.TYPES)
    flag(
        "--id_recon",
        truth,
        "train with the VAE's reconstructions of the images as in-distribution, too (ours, not the paper's)",
        nargs="?",
        const=True,
    )
    flag("--save_every", positive_int, "keep model_<epoch>.pth of every N-th epoch; model.pth is always kept")
    flags.generation_flags(flags.in_memory_adder(parser))
    flags.common_flags(parser, defaults.TRAIN_CLASSI, trains=True)
    return parser


def test_parser() -> Parser:
    """Flags of test.py (step 4)."""
    parser = Parser(prog="test.py", description="Score in-distribution, generated and real outlier images.")
    flag = flags.adder(parser, defaults.TEST)
    flags.id_flag(parser, "--in_data")
    parser.add_argument(
        "--out_data",
        type=data_word,
        default=None,
        help=f"folder, or known names and paths, separated by commas (default: {DEFAULT_OOD})",
    )
    flags.save_flag(parser)
    flags.epoch_flag(parser, 200)
    parser.add_argument(
        "--model_path", default="./result", help="folder that train_classi wrote to (default: ./result)"
    )
    flags.seed_flag(parser)
    flags.gpu_flag(parser)
    flag("--score", str, "what is called the confidence", choices=("one_minus_ood", "max_in", "max_all"))
    flag(
        "--average",
        str,
        "metrics of all images at once, or averaged over batches of 1000",
        choices=("pooled", "batches"),
    )
    flag("--all_epochs", truth, "test the models of all epochs up to --model_epoch", nargs="?", const=True)
    flags.common_flags(
        parser, {"normalize": ("as in training", "as in training, outliers by their own", "as in training")}
    )
    return parser


def prepare_parser() -> Parser:
    """Flags of `oodgen prepare`."""
    parser = Parser(prog="oodgen prepare", description="Write a data set as the folder tree that the steps read.")
    parser.add_argument("name", help="a known name (mnist, fmnist, digits, …) or a path")
    parser.add_argument("folder", help="where train/<class>/*.png and test/<class>/*.png go")
    parser.add_argument("--resize", action="store_true", help="turn other sizes and colours into 28 x 28 grey")
    add_shared_flags(parser, skip=("resume", "compile", "precision", "output-dir", "log-to", "device", "seed"))
    return parser


def train_vae_main(argv: Sequence[str] | None = None) -> int:
    """Run step 1."""
    return run_command(deferred("oodgen.commands", "train_vae_step"), vae_parser(), argv)


def gen_ood_main(argv: Sequence[str] | None = None) -> int:
    """Run step 2."""
    return run_command(deferred("oodgen.commands", "gen_ood_step"), generation_parser(), argv)


def train_classi_main(argv: Sequence[str] | None = None) -> int:
    """Run step 3."""
    return run_command(deferred("oodgen.classifier_step", "train_classi_step"), classifier_parser(), argv)


def test_main(argv: Sequence[str] | None = None) -> int:  # noqa: PT028 - the script's name, no test function
    """Run step 4."""
    return run_command(deferred("oodgen.commands", "test_step"), test_parser(), argv)


def prepare_main(argv: Sequence[str] | None = None) -> int:
    """Run `oodgen prepare`."""
    return run_command(deferred("oodgen.data.prepare", "prepare_step"), prepare_parser(), argv)


def bench_main(argv: Sequence[str] | None = None) -> int:
    """Run `oodgen bench`."""
    return bench.main(argv)


TOLD = {
    "score": "what is called the confidence: one_minus_ood, max_in or max_all",
    "normalize": "as in training; weights without configuration.json need it",
}
ABOUT = {
    "train_vae": "step 1: the conditional VAE of the in-distribution images",
    "gen_ood": "step 2: outliers off and on the data manifold, made with it",
    "train_classi": "step 3: the n+1 classifier on images and generated outliers",
    "test": "step 4: score in-distribution, generated and real outlier images",
    "prepare": "write a data set as the folder tree that the steps read",
    "bench": BENCH,
    **VERBS,
}
COMMANDS: dict[str, Callable[[Sequence[str] | None], int]] = {
    "train_vae": train_vae_main,
    "gen_ood": gen_ood_main,
    "train_classi": train_classi_main,
    "test": test_main,
    "prepare": prepare_main,
    "bench": bench_main,
    **verbs("oodgen", "oodgen.loading", TOLD),
}


def main(argv: Sequence[str] | None = None) -> int:
    """The console command `oodgen`."""
    return dispatch("oodgen", COMMANDS, argv, ABOUT)
