"""Readers of the files that datasets lie in: tables, label files, folders, tars and Parquet shards."""
