"""Access tokens: how programs prove whom they act for."""
