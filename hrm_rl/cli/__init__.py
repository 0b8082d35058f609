"""`hrm-rl`: one file a command, each thin. Bad input ends in one short message and exit code 2;
a training that diverged in one and 1."""

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns its exit code."""
    from hrm_rl.cli.commands import commands
    from hrm_rl.cli.usage import UsageError, parse

    words = list(sys.argv[1:] if argv is None else argv)
    try:
        parse(commands(words), words).run()
    except (UsageError, ValueError, OSError, MemoryError) as error:
        print(f"hrm-rl: {_message(error)}", file=sys.stderr)
        return 2
    except FloatingPointError as error:
        print(f"hrm-rl: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("hrm-rl: stopped", file=sys.stderr)
        return 130
    return 0


def _message(error: Exception) -> str:
    """The system's errors name the file first; ours say it all."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)
