"""Credentials, the tokens they are exchanged for, and the transport that adds a token to each request."""
