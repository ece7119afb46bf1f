"""`python -m tfpipe` is `tfpipe`."""

from tfpipe.cli import main

if __name__ == "__main__":
    main()
