"""`python -m hrm_rl`, the same as `hrm-rl`."""

import sys

from hrm_rl.cli import main

if __name__ == "__main__":
    sys.exit(main())
