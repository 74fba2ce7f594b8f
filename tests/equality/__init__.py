"""Compare two checkouts of this project for bit-equal results, whatever each calls its parts."""
