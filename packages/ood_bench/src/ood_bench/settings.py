"""What a comparison is asked for: the flags of `ood-bench` as one typed value, without torch."""

import argparse
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ood_shared.contract import BACKBONES, MIRRORS, NOVEL
from ood_shared.errors import InputError

DEFAULT_ID, DEFAULT_NOVEL = "digits", "7,8,9"
DEFAULT_OOD = "textures,faces,letters,gaussian,uniform"
DEFAULT_FOLDER = "ood-bench-report"
LAUNCHERS = ("local", "slurm")
REPORT, RESULTS, LEADERBOARD = "report.html", "results.json", "leaderboard"
UNSAID = {"backbone": BACKBONES[0], "mirror": MIRRORS[0], "device": "auto", "precision": "fp32"}  # defaults of a method
RECORDED = (
    *("novel_classes", "budget", "backbone", "mirror", "device", "precision", "compile", "data_dir"),
    *("group", "one_class", "value_range", "launcher", "jobs", "threads", "slurm", "isolated"),
)  # in `results.json`, under the names of the flags


@dataclass(frozen=True)
class Comparison:
    """A comparison.

    Attributes:
        methods: words of `--methods`; None for all.
        id: ID set.
        ood: OOD sets, without the novel classes.
        novel_classes: classes kept out of training, separated by commas; None for none.
        budget: length of the trainings.
        backbone: a name in `BACKBONES`.
        mirror: a name in `MIRRORS`.
        seeds: of the runs.
        output_dir: of all files.
        launcher: a name in `LAUNCHERS`.
        jobs: how many runs of this machine go at a time; None: as many as it has room for.
        threads: of a run on a CPU; None: one, or what `OMP_NUM_THREADS` says; of a cluster's jobs, what they have.
        slurm: options of sbatch.
        isolated: whether each package runs in an environment of its own.
        device: of the methods.
        precision: of the methods.
        compile: whether the methods compile their networks.
        debug: whether the methods show tracebacks.
        data_dir: where named sets are kept.
        resume: whether what is finished is kept.
        group: how ID images belong together; None for each by itself.
        one_class: whether all ID images are one class.
        value_range: of values of more than 8 bits; None: 0 to 65535 of 16 bits.
    """

    methods: tuple[str, ...] | None
    id: str
    ood: tuple[str, ...]
    novel_classes: str | None
    budget: str
    backbone: str
    mirror: str
    seeds: tuple[int, ...]
    output_dir: Path
    launcher: str
    jobs: int | None
    threads: int | None
    slurm: tuple[str, ...]
    isolated: bool
    device: str
    precision: str
    compile: bool
    debug: bool
    data_dir: str | None
    resume: bool
    group: str | None = None
    one_class: bool = False
    value_range: str | None = None

    @classmethod
    def from_options(cls, options: argparse.Namespace) -> "Comparison":
        """Of the flags; the word `novel` among the OOD sets stands for the classes kept out.

        Raises:
            InputError: no OOD set is left, or `novel` is named and no class is kept out.
        """
        novel = options.novel_classes
        if novel is None and options.id == DEFAULT_ID and not options.one_class:
            novel = DEFAULT_NOVEL
        if novel is not None and novel.lower() == "none":
            novel = None
        if NOVEL in options.ood and novel is None:
            raise InputError(f"--ood names `{NOVEL}`, but no classes are kept out. Pass --novel-classes.")
        ood = tuple(name for name in options.ood if name != NOVEL)
        if not ood:
            raise InputError(f"--ood names nothing but `{NOVEL}`. Add a set that is far, such as {DEFAULT_OOD}.")
        given = {flag.name: getattr(options, flag.name) for flag in fields(cls)}
        given |= {"ood": ood, "novel_classes": novel, "seeds": tuple(options.seeds or [options.seed or 0])}
        given |= {"output_dir": Path(options.output_dir), "slurm": tuple(options.slurm)}
        given["methods"] = None if options.methods is None else tuple(options.methods)
        return cls(**given)

    def arguments(self) -> tuple[str, ...]:
        """What every method gets; flags at their default are not passed on."""
        words = ["--id", self.id, "--ood", ",".join(self.ood), "--budget", self.budget]
        for flag in ("novel_classes", "backbone", "mirror", "device", "precision", "data_dir", "group", "value_range"):
            value = getattr(self, flag)
            if value is not None and value != UNSAID.get(flag):
                name = f"--{flag.replace('_', '-')}"
                words += [f"{name}={value}"] if value.startswith("-") else [name, value]  # a range may begin below 0
        for flag in ("one_class", "compile", "debug"):
            words += [f"--{flag.replace('_', '-')}"] if getattr(self, flag) else []
        return tuple(words)

    def record(self, methods: list[str]) -> dict[str, Any]:
        """The settings in `results.json`.

        Args:
            methods: that were run.
        """
        everything = asdict(self)
        about = {"methods": methods, "id": self.id, "ood": list(self.ood), "seeds": list(self.seeds)}
        return about | {name: everything[name] for name in RECORDED} | {"slurm": list(self.slurm)}
