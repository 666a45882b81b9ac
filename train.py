"""Train a model on a dataset: `python train.py dataset=colored_digits model=small_cnn`. See --help."""

from weakspot.cli import train

if __name__ == "__main__":
    train()
