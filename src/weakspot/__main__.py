"""`python -m weakspot` says which commands exist, and runs them."""

from weakspot.cli import main

if __name__ == "__main__":
    main()
