"""How a spotlight moves: the published optimiser, and BFGS at a fixed size; compiled for spheres, else in torch."""
