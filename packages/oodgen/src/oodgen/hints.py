"""Commands that a message quotes: with the user's own paths, as a shell takes them."""

import shlex


def command(script: str, **flags: object) -> str:
    """A command line that a message can quote and a shell take.

    >>> command("train_vae.py", in_data="my images", save_path="result")
    "python train_vae.py --in_data 'my images' --save_path result"
    """
    return " ".join(["python", script, *(f"--{name} {shlex.quote(str(value))}" for name, value in flags.items())])
