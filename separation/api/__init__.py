"""The REST API: thin shells over `separation.services`, plus the rules every endpoint shares."""
