"""A fleet at full size: 5,000 workloads at 10 s, of which 50 a second change."""
