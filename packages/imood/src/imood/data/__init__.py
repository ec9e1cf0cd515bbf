"""Images, sets and batches: the paper's three layouts, published lists, and the user's own data."""
