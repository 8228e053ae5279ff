"""The clients to compare: each module imports one library and runs in a process of its own."""
