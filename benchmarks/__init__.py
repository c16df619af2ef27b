"""Measures ram9 beside other servers of 9P2000.L, at the wire and through the kernel."""
