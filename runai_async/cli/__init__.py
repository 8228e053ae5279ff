"""The command line: `runai-async`."""
