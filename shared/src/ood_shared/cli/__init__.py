"""Command lines: one-line errors, the flags that all commands share, exit statuses.

Exit status: 0 done; 2 bad input, or a file or memory that the system refused, one line on standard error;
130 interrupted; 141 the reader of its output has enough; 143 terminated after saving. A trainer that saves and stops
because its `--stop-after` is over has done what it was asked to: 0.
"""

from ood_shared.cli.answers import installed
from ood_shared.cli.dispatch import deferred, dispatch
from ood_shared.cli.parser import Parser, add_shared_flags, add_version_flag, parse_seed, parse_seed_number
from ood_shared.cli.run import run_command

__all__ = [
    "Parser",
    "add_shared_flags",
    "add_version_flag",
    "deferred",
    "dispatch",
    "installed",
    "parse_seed",
    "parse_seed_number",
    "run_command",
]
