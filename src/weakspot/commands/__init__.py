"""The commands: each turns its configuration into objects and calls the pipeline with them."""
