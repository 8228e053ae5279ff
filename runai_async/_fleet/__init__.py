"""Watching many workloads as one stream."""
