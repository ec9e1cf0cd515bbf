"""Names of scores, without torch: command lines need them."""

SCORES = (
    *("msp", "mls", "ebo", "odin", "iodin", "scale", "nnguide", "relation", "knn", "mds", "react", "ash"),
    *("gen", "klm", "rmds", "she", "vim", "residual", "dice", "fdbd", "temp_scaling", "gradnorm", "t2fnorm"),
)
GRADIENT_SCORES = ("odin", "iodin")
ALIASES = {"temperature_scaling": "temp_scaling"}

_NET = "it needs a network and a trainer of its own"
OUT_OF_SCOPE = {
    "gram": "the published program computes it wrongly; pytorch-ood has it",
    "openmax": "the published program cannot run it; pytorch-ood has it",
    "rankfeat": "pytorch-ood has it for one layer",
    "mds_ensemble": "it needs features of several layers",
    "gmm": "it needs features of several layers",
    **dict.fromkeys(
        ("conf_branch", "godin", "rotpred", "rot", "mcd", "mos", "cider", "npos", "reweightood", "palm", "csi", "udg"),
        _NET,
    ),
    **dict.fromkeys(
        ("opengan", "dropout", "ensemble", "ssd", "patchcore", "cutpaste", "draem", "dsvdd", "rd4ad"), _NET
    ),
    **dict.fromkeys(("rts", "mcm", "kdad"), _NET),
}
