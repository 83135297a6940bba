"""``python -m sftprep`` is the ``sftprep`` command."""

from sftprep.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
