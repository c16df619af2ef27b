"""A POSIX file system in memory, on sectors from a private arena; it knows no 9P and no network."""
