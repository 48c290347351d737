"""Look at curves and fits in a browser, and refit them there: what is shown (free of Panel), and the page."""
