"""How much a caller may ask for in a while, counted exactly over all processes on one store."""
