"""`python -m texvlm`: the command line."""

from texvlm.cli import main

if __name__ == "__main__":
    main()
