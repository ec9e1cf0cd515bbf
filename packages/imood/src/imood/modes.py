"""Words of the flags, without torch: what the parsers offer and where defaults come from."""

TRAIN_METRICS = (
    "oe", "bkg_c", "energy", "bin_disc", "mc_disc", "maha",
    "ada_bin_disc", "ada_oe", "ada_energy", "ada_pascl", "ada_maha",
)  # fmt: skip
AUX_LOSSES = ("none", "pascl", "simclr")
AUX_KINDS = ("TinyImages", "VOS", "NPOS", "CIFAR", "Texture")
MODELS = ("ResNet18", "ResNet34", "ResNet50")
MAHA_SIGNS = ("fixed", "legacy")
POSTERIORS = ("published", "consistent")
CAPACITIES = ("per_class", "max")
DATASETS = ("cifar10", "cifar100", "imagenet", "waterbird")
PLAIN_TEST = {"oe": "msp", "energy": "energy", "bin_disc": "bin_disc", "maha": "maha"}  # of what was trained
RATIO, BATCH, DIST_URL = 0.01, 256, "tcp://localhost:23456"


def plain_test_of(trained: str | None) -> str:
    """The plain test metric that fits a training metric; `msp` when it is not known."""
    if trained in ("bkg_c", "mc_disc"):
        return trained
    return PLAIN_TEST.get((trained or "").removeprefix("ada_"), "msp")


def bench_test_of(trained: str) -> str:
    """The score of a comparison: as `plain_test_of`, with the class posterior where there is a column for ID."""
    plain = plain_test_of(trained)
    return "bin_disc_joint" if plain == "bin_disc" else plain
