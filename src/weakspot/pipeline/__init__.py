"""The steps of a run (train, infer, discover) as functions on objects; configuration stops in `weakspot.commands`."""
