"""The benchmarks of the evaluation programs: lists and folders below data/, as OpenOOD v1.5 and the authors lay out."""

from typing import NamedTuple


class Facts(NamedTuple):
    """What is fixed for an ID set."""

    classes: int
    network: str
    pre_size: int
    image_size: int


class Row(NamedTuple):
    """One set: its part in the benchmark, its name, its folder, its list below benchmark_imglist."""

    split: str
    name: str
    data_dir: str
    imglist: str


ID = {
    "cifar10": Facts(10, "resnet18_32x32", 32, 32),
    "cifar100": Facts(100, "resnet18_32x32", 32, 32),
    "imagenet200": Facts(200, "resnet18_224x224", 256, 224),
    "imagenet100": Facts(100, "resnet18_224x224", 256, 224),  # a template of this package
    "imagenet": Facts(1000, "resnet50", 256, 224),
    "aircraft": Facts(90, "resnet50", 512, 448),
    "cars": Facts(150, "resnet50", 512, 448),
    "waterbirds": Facts(2, "resnet18_224x224", 256, 224),
    "celeba": Facts(2, "resnet18_224x224", 256, 224),
}
CLASSIC, LARGE = "images_classic/", "images_largescale/"


def rows(name: str) -> list[Row]:
    """All sets of a benchmark, in the order of its tables."""
    if name in ("cifar10", "cifar100"):
        return _cifar(name)
    if name.startswith("imagenet"):
        return _imagenet(name)
    return _spurious_or_fine(name)


def _id(name: str, folder: str, pattern: str) -> list[Row]:
    return [Row("id", split, folder, f"{name}/{pattern.format(split)}") for split in ("train", "val", "test")]


def _cifar(name: str) -> list[Row]:
    other = "cifar100" if name == "cifar10" else "cifar10"
    sets = _id(name, CLASSIC, f"{{}}_{name}.txt")
    if name == "cifar10":
        sets.append(Row("csid", "cifar10c", CLASSIC, "cifar10/test_cifar10c.txt"))
    sets.append(Row("val", "val", CLASSIC, f"{name}/val_tin.txt"))
    sets += [Row("near", near, CLASSIC, f"{name}/test_{near}.txt") for near in (other, "tin")]
    for far in ("mnist", "svhn", "iSUN", "texture", "places365"):
        if far == "iSUN":  # one list for both, in the folder of cifar10
            sets.append(Row("far", far, f"{CLASSIC}iSUN/", "cifar10/test_isun.txt"))
        else:
            sets.append(Row("far", far, CLASSIC, f"{name}/test_{far}.txt"))
    return sets


def _imagenet(name: str) -> list[Row]:
    lists = "imagenet" if name == "imagenet" else "imagenet200"  # the template borrows the outliers of imagenet200
    sets = _id(name, LARGE, f"{{}}_{name}.txt")
    shifts = ("v2", "c", "r", "es") if name == "imagenet" else ("v2", "c", "r")
    sets += [Row("csid", f"imagenet_{s}", LARGE, f"{name}/test_{name}_{s}.txt") for s in shifts]
    sets.append(Row("val", "val", LARGE, f"{lists}/val_openimage_o.txt"))
    sets += [Row("near", near, LARGE, f"{lists}/test_{near}.txt") for near in ("ssb_hard", "ninco")]
    for far in ("inaturalist", "textures", "openimage_o"):
        sets.append(Row("far", far, CLASSIC if far == "textures" else LARGE, f"{lists}/test_{far}.txt"))
    return sets


def _spurious_or_fine(name: str) -> list[Row]:
    sets = _id(name, f"{LARGE}{name}/", f"{name}_{{}}.txt")
    sets.append(Row("val", "val", LARGE, "imagenet200/val_openimage_o.txt"))
    kind = "finegrained" if name in ("aircraft", "cars") else "spurious"
    folder = f"{LARGE}waterbirds_ood/" if name == "waterbirds" else f"{LARGE}{name}/"
    sets.append(Row("near", f"{name}_ood", folder, f"{name}/{name}_{kind}_ood.txt"))
    sets += [Row("far", far, LARGE, f"imagenet200/test_{far}.txt") for far in ("ninco", "openimage_o")]
    sets.append(Row("far", "sun", LARGE, "sun/sun.txt"))
    sets.append(Row("far", "texture", CLASSIC, "cifar100/test_texture.txt"))
    sets.append(Row("far", "inaturalist", LARGE, "imagenet200/test_inaturalist.txt"))
    return sets
