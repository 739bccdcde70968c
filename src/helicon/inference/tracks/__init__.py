"""What a network says of every base of a genome."""
