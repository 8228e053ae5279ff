"""What the package costs, side by side with others and with what no client can do without."""
