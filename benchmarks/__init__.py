"""What the package costs, side by side with other clients and with bare aiohttp."""
