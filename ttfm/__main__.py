"""``python -m ttfm``."""

from ttfm.cli import main
from ttfm.interpreter import leave

if __name__ == "__main__":
    main()
    leave()
