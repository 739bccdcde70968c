"""Pages: blocks of text, tables and figures, and the reports that are made of them."""
