"""Files in: one small reader a format, one lazy Dataset for all of them."""
