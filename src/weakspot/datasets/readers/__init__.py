"""Readers of the files that hold datasets: tables, label files, folders, tars and Parquet shards."""
