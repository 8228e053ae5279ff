"""HTTP requests and responses, and the aiohttp session that carries them."""
