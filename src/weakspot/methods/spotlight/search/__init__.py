"""The search for a spotlight: the published run alone, or the best run of several starts."""
