"""Discovery methods: arrays in, slices out. They know nothing of Hydra, Lightning, W&B or files."""
