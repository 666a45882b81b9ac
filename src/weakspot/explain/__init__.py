"""Why a slice is one: what its examples share, and where the model looked."""
