"""What a network says of mutants of proteins."""
