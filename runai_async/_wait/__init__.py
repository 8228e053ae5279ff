"""Waiting for a phase or a rollout."""
