"""ConvNova: gated, dilated convolutions in two branches."""
