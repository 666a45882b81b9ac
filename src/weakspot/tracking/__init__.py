"""Where runs are logged; the only room that knows Weights & Biases."""
