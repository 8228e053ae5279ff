"""The endpoints: what to send, what a response means, and when to try again."""
