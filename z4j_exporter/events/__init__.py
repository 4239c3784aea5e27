"""Events: the messages they come in, their typed form, and the way from one to the other."""
