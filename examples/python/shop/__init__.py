"""A small shop that keeps answering while what it depends on does not. Read `main` first."""
