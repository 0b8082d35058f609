"""`hrm-rl`, one file a command.

Exit code 2 with one short message for bad input, 1 for a training run that diverged, 128 + its number for a
stop signal.
"""

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line, under torchrun as one rank of a job; returns its exit code."""
    from hrm_rl.cli.output import prepare_streams
    from hrm_rl.distributed.launch import as_rank
    from hrm_rl.process import prepare_command

    words = list(sys.argv[1:] if argv is None else argv)
    prepare_streams()
    if argv is None:
        prepare_command()
    return as_rank(lambda: _run(words), together=words[:1] in (["train"], ["eval"], ["trace"]))


def _run(words: Sequence[str]) -> int:
    from hrm_rl.cli.commands import parse_command
    from hrm_rl.cli.output import prepare_streams

    try:
        parse_command(words).run()
        sys.stdout.flush()
    except BrokenPipeError:  # whatever read the output, `head` perhaps, has enough
        sys.stdout = None  # type: ignore[assignment]
        prepare_streams()
        return 141
    except (ValueError, OSError, MemoryError) as error:
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
    """The error's message; an error of the operating system names its file first."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)
