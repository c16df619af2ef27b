"""ram9's server: sessions, one function for each 9P operation, and the edge to the network."""
