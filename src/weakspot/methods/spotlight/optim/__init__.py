"""The optimisers: the published one, and BFGS at a fixed size; compiled for spheres, else in torch."""
