"""`python -m jaxvjp_magic FILE`."""

import sys

from jaxvjp_magic.cli import main

if __name__ == "__main__":
    sys.exit(main())
