"""Credentials, the tokens that they are exchanged for, and the transport that adds one to a request."""
