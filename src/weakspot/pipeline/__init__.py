"""The steps of a run (train, infer, discover) as functions on objects; they know no configuration."""
