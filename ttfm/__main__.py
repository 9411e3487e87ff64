"""``python -m ttfm``."""

from ttfm.cli import main

if __name__ == "__main__":
    main()
