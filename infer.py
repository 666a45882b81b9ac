"""Read a dataset through a model into the store of predictions: `python infer.py`. See --help."""

from weakspot.cli import infer

if __name__ == "__main__":
    infer()
