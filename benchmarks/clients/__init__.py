"""The sides: each module imports one library and what it needs, and runs in a process of its own."""
