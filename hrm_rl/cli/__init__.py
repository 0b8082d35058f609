"""`hrm-rl`: one file a command, each thin. Bad input ends in one short message and exit code 2."""

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns its exit code."""
    import tyro

    from hrm_rl.cli.commands import Command

    command = tyro.cli(
        Command,  # type: ignore[arg-type]
        prog="hrm-rl",
        description="Hierarchical reasoning as reinforcement learning: train, halt, evaluate.",
        args=argv,
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
    )
    try:
        command.run()
    except (ValueError, FileNotFoundError, FileExistsError, NotADirectoryError) as error:
        print(f"hrm-rl: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("hrm-rl: stopped", file=sys.stderr)
        return 130
    return 0
