"""The two threads of the data path and the bounded buffer between them."""
