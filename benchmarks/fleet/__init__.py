"""A fleet at full size: 5,000 workloads at 10 s, 50 of which change each second."""
