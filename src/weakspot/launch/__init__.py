"""The launcher of a command line: settings and options, runs and sweeps, and errors as sentences with an exit code."""
