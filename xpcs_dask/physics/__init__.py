"""On curves and their repeats: g2 again from the sums of every pixel, averages of repeated runs."""
