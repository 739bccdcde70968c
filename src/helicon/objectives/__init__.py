"""What a network is trained to do: the corruption of its input and the loss on its output."""
