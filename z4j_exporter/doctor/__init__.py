"""Why are my metrics empty? Gathers facts once, and judges them."""
