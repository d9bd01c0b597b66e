"""What the documentation site adds to the pages in `docs/`: reference made from code, and links into the repository."""
