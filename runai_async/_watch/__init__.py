"""Watching one workload: what is new, what was missed, what is really gone."""
