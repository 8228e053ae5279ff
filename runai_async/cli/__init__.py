"""The command line: commands, and views apart from them."""
