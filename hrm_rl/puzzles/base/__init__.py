"""What families are built from: random numbers, dials, token checks, pictures and the names of splits."""
