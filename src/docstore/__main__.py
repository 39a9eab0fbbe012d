"""The program `docstore`, or `python -m docstore`: the command line, and what ends it outside of any command."""

from __future__ import annotations

import os
from contextlib import suppress


def main() -> None:
    """Runs one command, and leaves with its exit code."""
    # As numbers: importing their names may be what is interrupted, or what standard output stands in the way of.
    try:
        from docstore.cli import app

        app()
    except KeyboardInterrupt:
        _leave("Interrupted.", 130)
    except OSError as error:  # of commands all are caught: what remains is help that cannot be written
        _leave(f"The help cannot be written to standard output: {error.strerror}.", 5)


def _leave(message: str, code: int) -> None:
    with suppress(OSError):
        os.write(2, f"error: {message}\n".encode())
    os._exit(code)  # else standard output is flushed once more, which would fail again, and loudly


if __name__ == "__main__":
    main()
