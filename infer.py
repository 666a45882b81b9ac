"""Run a model over a dataset and store its predictions: `python infer.py`. See --help."""

from weakspot.cli import infer

if __name__ == "__main__":
    infer()
