"""How large an image of unknown origin may be. It imports nothing."""

MAX_PIXELS = 64_000_000
MAX_BYTES = 256 * 2**20
