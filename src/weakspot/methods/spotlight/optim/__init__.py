"""The optimisers: the published one, and BFGS at a fixed size; compiled for spherical precisions, else in torch."""
