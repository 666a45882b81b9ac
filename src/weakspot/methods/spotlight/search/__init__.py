"""The search for a spotlight: the published run alone, or several starts of which the best end counts."""
