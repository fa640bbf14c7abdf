"""System checks of the separation app; see `separation.E001` and so on. Filled in below."""
