"""Flags of the scripts that prepare data, and of `mood-dpa rescale`, `subjects`, `expand-cv` and `challenge`."""

from mood_dpa.data.intensities import USUAL
from mood_dpa.flags import add_rescale_flags, add_seed_flag, add_small_flags, finite, positive, whole
from mood_dpa.standalone import Parser

OTSU = "otsu"


def save_2d_parser() -> Parser:
    """Flags of save_2D.py."""
    parser = Parser(prog="save_2D.py", description="Cut volumes into slices along an axis.")
    parser.add_argument("-i", "--input_dir", required=True, help="folder with volumes (*.nii.gz, folders of DICOM)")
    parser.add_argument("-o", "--output_dir", required=True, help="folder for the slices; made when missing")
    parser.add_argument("-a", "--axis", required=True, type=int, choices=(0, 1, 2), help="slicing axis")
    parser.add_argument(
        "-f", "--filter", action="store_true", help="Do not save slices where # of non zero pixels < 4000"
    )
    parser.add_argument("-r", "--resize", type=positive, default=None, help="Resize image while saving")
    parser.add_argument("--least_pixels", type=positive, default=4000, help="what --filter wants (default: 4000)")
    parser.add_argument(
        "--packed", action="store_true", help="one memory-mapped file per volume instead of a file per slice"
    )
    parser.add_argument(
        "--dtype", default="float16", choices=("float16", "float32"), help="values are cut to this (default: float16)"
    )
    add_rescale_flags(parser)
    add_small_flags(parser, "--resume", "leave out volumes whose slices are there")
    return parser


def folds_parser() -> Parser:
    """Flags of create_folds.py."""
    parser = Parser(prog="create_folds.py", description="Divide the volumes of a folder into folds.")
    parser.add_argument("-i", "--input_dir", required=True, help="folder; its *.gz and other volumes are taken")
    parser.add_argument("-o", "--output_path", required=True, help="CSV to write; its folder is made when missing")
    parser.add_argument("-n", "--n_folds", type=positive, default=3, help="number of folds (default: 3)")
    add_seed_flag(parser)
    add_small_flags(parser)
    return parser


def synthetic_parser() -> Parser:
    """Flags of create_val_dataset_with_synthetic_anomalies.py."""
    parser = Parser(
        prog="create_val_dataset_with_synthetic_anomalies.py",
        description="Write healthy volumes, copies of them with synthetic anomalies, and the masks of both.",
    )
    parser.add_argument("-i", "--input_dir", required=True, help="healthy volumes (*.nii.gz) in [0, 1]")
    parser.add_argument("-o", "--output_image_dir", required=True, help="folder for the volumes")
    parser.add_argument("-m", "--output_mask_dir", required=True, help="folder for the masks")
    parser.add_argument(
        *("-p", "--folds_path"),
        default=None,
        help='Path to csv file with folds info. Use if you want to create a synthetic dataset only from one "test" '
        "fold of input dataset",
    )
    parser.add_argument(
        *("-f", "--fold"),
        default=None,
        help='# of fold. Use if you want to create a synthetic dataset only from one "test" fold of input dataset',
    )
    add_seed_flag(parser)
    parser.add_argument(
        "--axis_order",
        default="array",
        choices=("array", "reference"),
        help="reference: first and last axis of the centres swapped, as published (default: array)",
    )
    add_rescale_flags(parser, rescale=False)
    add_small_flags(parser)
    return parser


def synthetic_2d_parser() -> Parser:
    """Flags of `mood-dpa synthetic-2d`."""
    parser = Parser(prog="mood-dpa synthetic-2d", description="The same for slices: circles and ellipses.")
    parser.add_argument("-i", "--input_dir", required=True, help="folder of slices (*.npy)")
    parser.add_argument("-o", "--output_image_dir", required=True)
    parser.add_argument("-m", "--output_mask_dir", required=True)
    parser.add_argument("-p", "--folds_path", default=None)
    parser.add_argument("-f", "--fold", default=None)
    add_seed_flag(parser)
    add_small_flags(parser)
    return parser


def rescale_parser() -> Parser:
    """Flags of `mood-dpa rescale`."""
    parser = Parser(prog="mood-dpa rescale", description="Bring volumes of any intensities to [0, 1], by percentiles.")
    parser.add_argument("-i", "--input_dir", required=True, help="folder with volumes")
    parser.add_argument("-o", "--output_dir", required=True, help="folder for the results; `_` in names becomes `-`")
    low, high = USUAL
    parser.add_argument("--low", type=finite, help=f"percentile that becomes 0 (default: {low})")
    parser.add_argument("--high", type=finite, help=f"percentile that becomes 1 (default: {high})")
    add_rescale_flags(parser)
    parser.add_argument(
        "--body",
        nargs="?",
        const=OTSU,
        default=None,
        metavar="THRESHOLD",
        help="voxels not above the threshold, in the file's own unit, become 0, and the rule looks at the others; "
        "without a number it is Otsu's, of each volume",
    )
    parser.add_argument(
        "--nan", type=finite, default=None, metavar="VALUE", help="NaN and infinite voxels become this first"
    )
    add_small_flags(parser)
    return parser


def expand_parser() -> Parser:
    """Flags of `mood-dpa expand-cv`."""
    parser = Parser(prog="mood-dpa expand-cv", description="Expand the cross-validation grid of an axis.")
    parser.add_argument("meta_train", help="meta_train.yaml; its folder axis_K names the axis")
    parser.add_argument("meta_inference", help="meta_inference_3d.yaml")
    parser.add_argument("out", help="folder for <point>/<fold>/*.yaml")
    parser.add_argument("--axis", type=int, choices=(0, 1, 2), default=None, help="(default: from the folder's name)")
    parser.add_argument("--folds", type=whole, nargs="+", default=[0], help="folds (default: 0)")
    add_small_flags(parser)
    return parser


def subjects_parser() -> Parser:
    """Flags of `mood-dpa subjects`."""
    parser = Parser(prog="mood-dpa subjects", description="Make subjects from the MNI152 template.")
    parser.add_argument("output_dir", help="folder to fill")
    parser.add_argument("--count", type=positive, default=20, help="subjects (default: 20)")
    parser.add_argument("--test", type=positive, default=None, help="of them for testing (default: a fifth)")
    parser.add_argument("--side", type=positive, default=64, help="voxels per side (default: 64)")
    parser.add_argument(
        "--difficulty", choices=("easy", "hard"), default="easy", help="how much they differ (default: easy)"
    )
    parser.add_argument("--seed", type=whole, default=0, help="(default: 0)")
    add_small_flags(parser)
    return parser


def challenge_parser() -> Parser:
    """Flags of `mood-dpa challenge`."""
    parser = Parser(prog="mood-dpa challenge", description="Score predictions as the MOOD challenge does.")
    parser.add_argument("labels", help="folder of labels: NIfTI for pixel, *.txt for sample")
    parser.add_argument("predictions", help="folder of predictions")
    parser.add_argument("-m", "--mode", default="pixel", choices=("pixel", "sample"))
    add_small_flags(parser)
    return parser
