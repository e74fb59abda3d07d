"""The stages of the pipeline in rooms, and what flows between them."""
