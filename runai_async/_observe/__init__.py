"""What only reports what happens, and cannot change it."""
