"""The models that are known by name, by what moves in the sample, and what an instrument does to any of them."""
