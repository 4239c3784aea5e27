"""The optional hook in the application; imports nothing else of the package."""
