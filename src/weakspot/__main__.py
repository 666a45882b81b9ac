"""`python -m weakspot` lists the commands, and runs them."""

from weakspot.cli import main

if __name__ == "__main__":
    main()
