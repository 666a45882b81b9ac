"""The live explorer, `browse.py`: it reads the folders of runs, and asks the pipeline for what needs a model."""
