"""One HTTP request and its response, and the aiohttp session that carries them."""
