"""Flags of `train.py` and `test.py`, and the console command `imood`.

`imood train …` is `python train.py …`; beside the two there is `bench`.
"""

import argparse
import sys
from collections.abc import Callable, Sequence

from ood_shared.cli import Parser, add_shared_flags, deferred, dispatch, parse_seed_number, run_command
from ood_shared.flags import (
    below_one,
    data_word,
    not_negative,
    not_negative_int,
    number,
    positive,
    positive_int,
    share_or_all,
    whole,
)
from ood_shared.verbs import ABOUT as VERBS
from ood_shared.verbs import BENCH, verbs

from imood import bench, modes
from imood.readers import ratio, sample_count, taus, test_model, train_metric


def train_parser() -> Parser:
    """Flags of train.py."""
    parser = Parser(prog="train.py", description="Train a classifier and an OOD detector on long-tailed data.")
    data = parser.add_argument_group("data")
    _data_flags(data, workers=16, classes=modes.IMAGENET_CLASSES)
    data.add_argument(
        "--ood_aux_dataset", "--ood_ds", default="TinyImages", choices=modes.AUX_KINDS,
        help="auxiliary outliers: 300K random images (extra_1k with imagenet, texture with waterbird), the other "
        "CIFAR, or features made by VOS or NPOS; Texture only has an effect with waterbird (default: TinyImages)",
    )  # fmt: skip
    data.add_argument(
        "--ood_aux", type=data_word, default=None, metavar="NAME|PATH",
        help="own auxiliary outliers instead: folder:PATH, tar:PATH, npz:PATH or a known name",
    )  # fmt: skip
    data.add_argument(
        "--num_ood_samples", type=sample_count, default=30000, help="first K of the 300K random images (default: 30000)"
    )

    model = parser.add_argument_group("network and optimisation")
    _model_flag(model)
    model.add_argument("--width", type=positive_int, default=64, help="channels of the first stage of ResNet18 and "
                       "ResNet34; fewer make a small network (default: 64, the paper's)")  # fmt: skip
    model.add_argument("--batch_size", "-b", type=positive_int, default=None, help="ID images per step, all processes "
                       "together, and as many outliers (default: 256; own data: at most all images)")  # fmt: skip
    model.add_argument("--test_batch_size", "--tb", type=positive_int, default=1000, help="default: 1000")
    model.add_argument(
        "--epochs", "-e", "--e", type=positive_int, default=200, help="default: 200; the documents take 180"
    )
    model.add_argument(
        "--save_epochs", type=whole(-1), default=-1, help="keep epoch<e>.pth of every N-th epoch (default: no)"
    )
    model.add_argument("--lr", type=positive, default=1e-3,
                       help="learning rate; for imagenet multiplied by batch size / 256 (default: 0.001)")  # fmt: skip
    model.add_argument("--wd", type=not_negative, default=5e-4, help="weight decay (default: 0.0005)")
    model.add_argument("--momentum", "-m", type=below_one, default=0.9, help="of sgd (default: 0.9)")
    model.add_argument("--decay_epochs", "--de", type=not_negative_int, nargs="+", default=[60, 80],
                       help="epochs at which multisteps divides the learning rate by 10 (default: 60 80)")  # fmt: skip
    model.add_argument("--opt", default="adam", choices=("sgd", "adam"), help="optimiser (default: adam)")
    model.add_argument("--decay", default="cos", choices=("cos", "multisteps"), help="schedule (default: cos)")

    loss = parser.add_argument_group("losses")
    loss.add_argument(
        "--ood_metric", type=train_metric, default="oe",
        choices=[name for name in modes.TRAIN_METRICS if name != "ada_pascl"],
        help="primary OOD loss; ada_ has the training-time regularisation of the paper (default: oe)",
    )  # fmt: skip
    loss.add_argument("--aux_ood_loss", default="none", choices=modes.AUX_LOSSES,
                      help="auxiliary loss; simclr is a binary discrimination, not SimCLR (default: none)")  # fmt: skip
    loss.add_argument("--Lambda", type=not_negative, default=0.5, help="weight of the primary OOD loss (default: 0.5)")
    loss.add_argument("--Lambda2", type=not_negative, default=0.1, help="weight of the auxiliary loss (default: 0.1)")
    loss.add_argument("--T", type=positive, default=0.07, help="temperature of pascl (default: 0.07)")
    loss.add_argument(
        "--k", type=share_or_all, default=0.4, help="share of the classes that count as tail (default: 0.4)"
    )
    loss.add_argument("--logit_adjust", "--tau", type=not_negative, default=1.0,
                      help="exponent of the prior; 0 switches the adjustment off (default: 1.0)")  # fmt: skip
    loss.add_argument("--maha_capacity", default="per_class", choices=modes.CAPACITIES,
                      help="vectors of each class in the feature pool: as many as the class has images, or as the "
                      "largest class has, which the published code does (default: per_class)")  # fmt: skip

    run = parser.add_argument_group("run")
    run.add_argument("--seed", type=parse_seed_number, default=None, help="seed of every random draw (default: drawn)")
    run.add_argument("--timestamp", action="store_true", help="append _YYYYMMDDHHMMSS to the run's folder")
    run.add_argument("--resume", nargs="?", const="", default=None, metavar="DIR",
                     help="folder of a run to go on with; without DIR the folder that the flags name")  # fmt: skip
    run.add_argument("--save_root_path", "--srp", default="./runs", help="folder of the run folders (default: ./runs)")
    run.add_argument("--early-stop", dest="early_stop", action="store_true", default=True, help="no effect")
    run.add_argument("--no-early-stop", dest="early_stop", action="store_false", help="no effect")
    run.add_argument("--w_beta", type=number, default=1.0, help="no effect")
    run.add_argument("--t_beta", type=number, default=2.0, help="no effect")
    _launch_flags(run)
    add_shared_flags(parser, seed=None, skip=("resume", "data-dir"), trains=True)
    _channels_last_flag(parser)
    return parser


def test_parser() -> Parser:
    """Flags of test.py."""
    parser = Parser(prog="test.py", description="Score ID and outlier test sets with a trained network.")
    data = parser.add_argument_group("data")
    _data_flags(data, workers=4, classes=None)
    data.add_argument(
        "--ood_test", type=data_word, default=None, metavar="NAME=PATH,…",
        help="own outlier test sets instead of the benchmark's, by path or known name",
    )  # fmt: skip
    data.add_argument("--num_ood_samples", type=sample_count, default=30000, help="no effect on the scores")

    run = parser.add_argument_group("test")
    _model_flag(run, test_model)
    run.add_argument("--test_batch_size", "--tb", type=positive_int, default=1000, help="default: 1000")
    run.add_argument("--logit_adjust", "--tau", type=taus, default=[1.0],
                     help="exponent of the prior; several with commas share the passes (default: 1.0)")  # fmt: skip
    run.add_argument(
        "--ood_metric", default=None,
        help="msp, energy, bin_disc, maha, gradnorm, rp_msp, rp_gradnorm, rw_energy, bkg_c, mc_disc, ada_ with one of "
        "the first five, or bin_disc_joint; several with commas, or all that fit (default: the plain one of the "
        "training, else msp)",
    )  # fmt: skip
    run.add_argument("--maha_sign", default="fixed", choices=modes.MAHA_SIGNS,
                     help="legacy inverts it, for id_feats.pth of the published code (default: fixed)")  # fmt: skip
    run.add_argument("--posterior", default="published", choices=modes.POSTERIORS,
                     help="what the ada_ metrics divide by the prior: the softmax of the logits, as published, or that "
                     "of the long-tailed data, which a network trained with --logit_adjust has only after the prior is "
                     "added again (default: published)")  # fmt: skip
    run.add_argument("--ckpt_path", default="", help="folder with the checkpoint; results are written there")
    run.add_argument("--ckpt", default="latest", choices=("latest", "best"),
                     help="latest.pth or best_clean_acc.pth (default: latest)")  # fmt: skip
    run.add_argument("--ddp", action="store_true", help="no effect; torchrun divides the passes over its processes")
    add_shared_flags(parser, seed=parse_seed_number, seed_default=0, skip=("resume", "data-dir", "log-to"))
    _channels_last_flag(parser)
    return parser


def train_main(argv: Sequence[str] | None = None) -> int:
    """Run train.py."""
    parser = train_parser()
    parser.set_defaults(words=list(sys.argv[1:] if argv is None else argv))
    return run_command(deferred("imood.commands", "train_command"), parser, argv)


def test_main(argv: Sequence[str] | None = None) -> int:  # noqa: PT028 - the script's name, no test function
    """Run test.py."""
    parser = test_parser()
    parser.set_defaults(words=list(sys.argv[1:] if argv is None else argv))
    return run_command(deferred("imood.commands", "test_command"), parser, argv)


def bench_main(argv: Sequence[str] | None = None) -> int:
    """Run `imood bench`."""
    return bench.main(argv)


TOLD = {
    "score": "a word of --ood_metric (default: that of the run)",
    "checkpoint": "latest or best (default: latest)",
    "data_dir": "folder of the data set of a run of an earlier version",
}
ABOUT = {
    "train": "train.py: a classifier and an OOD detector on long-tailed data",
    "test": "test.py: score ID and OOD test sets with a trained network",
    "bench": BENCH,
    **VERBS,
}
COMMANDS: dict[str, Callable[[Sequence[str] | None], int]] = {
    "train": train_main,
    "test": test_main,
    "bench": bench_main,
    **verbs("imood", "imood.loading", TOLD),
}


def main(argv: Sequence[str] | None = None) -> int:
    """The console command `imood`."""
    return dispatch("imood", COMMANDS, argv, ABOUT)


def _data_flags(group: "argparse._ArgumentGroup", workers: int, classes: int | None) -> None:
    group.add_argument("--gpu", default=None, help="GPU number, several with commas, or cpu (default: 0)")
    group.add_argument("--num_workers", "--cpus", type=not_negative_int, default=workers,
                       help=f"threads or processes that read image files (default: {workers})")  # fmt: skip
    group.add_argument("--data_root_path", "--drp", "--data-dir", default="./data", metavar="DIR",
                       help="folder of the data sets (default: ./data)")  # fmt: skip
    group.add_argument(
        "--dataset", "--ds", type=data_word, default=None, metavar="NAME|PATH",
        help="cifar10, cifar100, imagenet, waterbird, a known set such as digits, or own data as folder:PATH, "
        "tar:PATH, npz:PATH (default: in tests that of the run; cifar10 where it is in the data folder, else digits)",
    )  # fmt: skip
    group.add_argument(
        "--id_class_number", type=whole(2), default=classes,
        help="first K ImageNet classes (default: 1000, in tests those of the run)",
    )  # fmt: skip
    group.add_argument("--imbalance_ratio", "--rho", type=ratio, default=None, metavar="RATIO",
                       help="smallest over largest class; asis cuts nothing (default: 0.01; paths: asis)")  # fmt: skip


def _model_flag(group: "argparse._ArgumentGroup", kind: Callable[[str], str] = str) -> None:
    group.add_argument("--model", "--md", type=kind, default=None, choices=modes.MODELS,
                       help="default: ResNet18; ResNet50 with imagenet and waterbird")  # fmt: skip


def _launch_flags(group: "argparse._ArgumentGroup") -> None:
    group.add_argument("--ddp", action="store_true", help="one process for each GPU of --gpu; without it several GPUs "
                       "start them, too")  # fmt: skip
    group.add_argument("--nproc", type=positive_int, default=None, help="processes with --ddp on the CPU (default: 1)")
    group.add_argument("--ddp_backend", "--ddpbed", default="nccl", choices=("nccl", "gloo", "mpi"),
                       help="default: nccl on GPUs; on the CPU always gloo")  # fmt: skip
    group.add_argument("--num_nodes", type=positive_int, default=1, help="machines (default: 1)")
    group.add_argument("--node_id", type=not_negative_int, default=0, help="number of this machine (default: 0)")
    group.add_argument("--dist_url", default=None, metavar="tcp://HOST:PORT",
                       help=f"where the processes meet (default: {modes.DIST_URL})")  # fmt: skip


def _channels_last_flag(parser: Parser) -> None:
    parser.add_argument(
        "--channels_last", action="store_true", help="keep images and weights channels-last, as on CUDA in any case"
    )
