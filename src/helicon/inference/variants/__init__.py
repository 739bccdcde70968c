"""What a network says of variants."""
