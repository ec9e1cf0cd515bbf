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
IMAGENET_CLASSES = 1000
RATIO, BATCH, DIST_URL = 0.01, 256, "tcp://localhost:23456"
