"""A model of the store's protocol, small enough that every interleaving with every crash can be looked at."""
