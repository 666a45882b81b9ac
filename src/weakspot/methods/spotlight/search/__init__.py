"""Where a spotlight is looked for: the published run alone, or several starts of which the best end counts."""
