"""The pages musicians see: thin shells over `separation.services`. Owns requests, templates and redirects only."""
