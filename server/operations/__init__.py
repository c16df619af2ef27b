"""One function for each request, by family; importing a family registers what it answers."""
